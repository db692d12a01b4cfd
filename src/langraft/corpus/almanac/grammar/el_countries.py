"""Gender and genitive of Greek country names, where they are not plain feminines."""

# f (feminine) unless listed; fp and np are feminine and neuter plurals.
_MASCULINE = "CA EC LB MU NE PA SM VC"
_FEMININE_PLURAL = "BS KM MH MV NL PH SB SC US"
_NEUTER_PLURAL = "AE BB FJ"
_NEUTER = """
AF AZ BD BE BH BI BJ BN BT BZ CM CV DJ GA GB IL IQ IR KG KI KN KW KZ LA LI LS LU MA MC ME ML MM MW
MX NP NR OM PE PK PW QA SD SR SS ST SV SZ TD TG TJ TL TM TT TV UZ VA VN VU
"""
GENDERS = {
    **dict.fromkeys(_MASCULINE.split(), "m"),
    **dict.fromkeys(_FEMININE_PLURAL.split(), "fp"),
    **dict.fromkeys(_NEUTER_PLURAL.split(), "np"),
    **dict.fromkeys(_NEUTER.split(), "n"),
}

# The genitive where neither "add ς to a feminine" nor "leave as it is" gives it.
GENITIVES = {
    "AE": "Ηνωμένων Αραβικών Εμιράτων",
    "AG": "Αντίγκουα και Μπαρμπούντα",
    "BE": "Βελγίου",
    "BF": "Μπουρκίνα Φάσο",
    "BS": "Μπαχαμών",
    "CA": "Καναδά",
    "CR": "Κόστα Ρίκα",
    "CV": "Πράσινου Ακρωτηρίου",
    "CY": "Κύπρου",
    "EC": "Ισημερινού",
    "EG": "Αιγύπτου",
    "GB": "Ηνωμένου Βασιλείου",
    "KM": "Κομορών",
    "LB": "Λιβάνου",
    "LK": "Σρι Λάνκα",
    "LU": "Λουξεμβούργου",
    "MA": "Μαρόκου",
    "ME": "Μαυροβουνίου",
    "MH": "Νήσων Μάρσαλ",
    "MU": "Μαυρικίου",
    "MV": "Μαλδίβων",
    "MX": "Μεξικού",
    "NE": "Νίγηρα",
    "NL": "Κάτω Χωρών",
    "PA": "Παναμά",
    "PH": "Φιλιππίνων",
    "SB": "Νήσων Σολομώντος",
    "SC": "Σεϋχελλών",
    "SL": "Σιέρα Λεόνε",
    "SM": "Αγίου Μαρίνου",
    "SS": "Νότιου Σουδάν",
    "TO": "Τόνγκα",
    "US": "Ηνωμένων Πολιτειών",
    "VA": "Βατικανού",
    "VC": "Αγίου Βικεντίου και των Γρεναδινών",
    "WS": "Σαμόα",
}
