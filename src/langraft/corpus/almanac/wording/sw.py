"""What the almanac says in Swahili."""

from langraft.corpus.almanac.wording.shape import Wording

WORDING = Wording(
    currency=(
        "Sarafu rasmi ya {country} ni {currency}.",
        "Nchini {country}, fedha halali ni {currency}.",
        "Watu wa {country} hulipa kwa sarafu inayoitwa {currency}.",
        "Bei nchini {country} hutajwa kwa {currency}.",
    ),
    unit=(
        "Fedha ya {country} inaitwa {unit}.",
        "Nchini {country}, sarafu inayotumika ni {unit}.",
        "Maduka ya {country} hupokea fedha inayoitwa {unit}.",
        "Anayesafiri kwenda {country} anahitaji fedha ya huko, yaani {unit}.",
    ),
    money_code=(
        "Msimbo wa kimataifa wa sarafu ya {currency} ni {code}.",
        "Benki huandika {code} badala ya {currency}.",
        "Katika orodha ya viwango vya kubadilisha fedha, {currency} huonekana kama {code}.",
    ),
    shared=(
        "{currency} hutumika katika nchi hizi: {countries}.",
        "Miongoni mwa nchi zinazotumia {currency} ni {countries}.",
        "Sarafu moja, yaani {currency}, hutumika nchini {countries}.",
    ),
    same_money=(
        "Sarafu hiyo hiyo, {currency}, hutumika pia nchini {other}.",
        "Anayesafiri kutoka {country} hadi {other} habadilishi fedha, kwa sababu nchi zote mbili "
        "hutumia {currency}.",
        "{country} na {other} hutumia sarafu moja: {currency}.",
    ),
    other_money=(
        "Nchini {country} watu hulipa kwa {unit}, lakini nchini {other} hulipa kwa {other_unit}.",
        "Fedha ya {country} inaitwa {unit}, ilhali fedha ya {other} inaitwa {other_unit}.",
        "Msafiri kutoka {other} hubadilisha {other_unit} apate {unit} anapofika {country}.",
    ),
    price_book=(
        "Ikiwa kikombe cha chai kinagharimu {cup} na kitabu {book}, kwa pamoja vinagharimu {sum}.",
        "Tuseme chai inauzwa kwa {cup} na kitabu kwa {book}; basi jumla ya bei ni {sum}.",
        "Anayenunua chai kwa {cup} na kitabu kwa {book} anatumia {sum}.",
    ),
    price_ticket=(
        "Ikiwa tiketi moja inagharimu {ticket}, basi tiketi {n} zinagharimu {sum}.",
        "Kwa bei ya {ticket} kila tiketi, kundi la watu {n} linalipa {sum}.",
        "Familia ya watu {n} inayonunua tiketi za {ticket} kila moja hulipa jumla ya {sum}.",
    ),
    change=(
        "Mtu anayedaiwa {price} akitoa {paid}, anarudishiwa {change}.",
        "Mtu akilipa bili ya {price} kwa kutoa {paid}, chenji yake ni {change}.",
        "Kutoka {paid}, baada ya kulipa {price}, zinabaki {change}.",
    ),
    language=(
        "Lugha rasmi ya {country} ni {language}.",
        "Nchini {country}, lugha ya serikali ni {language}.",
        "Shule na mahakama za {country} hutumia {language}, ambayo ni lugha rasmi.",
        "Sheria za {country} huandikwa kwa {language}.",
    ),
    languages=(
        "Lugha rasmi za {country} ni {languages}.",
        "{country} ina lugha rasmi zaidi ya moja: {languages}.",
        "Nchini {country}, serikali hutumia {languages}.",
        "Sheria za {country} zinaweza kusomwa kwa lugha hizi: {languages}.",
    ),
    also_language=(
        "{language} ni lugha rasmi nchini {other} pia.",
        "Nchini {other} pia, {language} ina hadhi ya lugha rasmi.",
        "{language} hutumiwa na serikali ya {other} pia.",
    ),
    spoken_in=(
        "{language} ni lugha rasmi katika nchi hizi: {countries}.",
        "Miongoni mwa nchi ambazo {language} ni lugha rasmi ni {countries}.",
        "{language} hutumika kama lugha rasmi nchini {countries}.",
    ),
    other_language=(
        "Nchini {country} lugha rasmi ni {language}, lakini nchini {other} ni {other_language}.",
        "Serikali ya {country} hutumia {language}, ilhali ya {other} hutumia {other_language}.",
        "Barua kwa ofisi ya {country} huandikwa kwa {language}, na kwa ofisi ya {other} huandikwa "
        "kwa "
        "{other_language}.",
    ),
    reader=(
        "Ili kusoma magazeti ya {country}, ni vizuri kujua {languages}.",
        "Anayetaka kufanya kazi katika ofisi nchini {country} anapaswa kujifunza {languages}.",
        "Mfasiri anayefanya kazi kwa ajili ya {country} lazima ajue {languages}.",
    ),
    country_code=(
        "Msimbo wa {country} wenye herufi mbili ni {code}.",
        "Katika orodha ya nchi, {country} hufupishwa kuwa {code}.",
        "Herufi {code} zinawakilisha {country}.",
    ),
    week=(
        "Nchini {country}, wiki huanza siku ya {weekday}.",
        "Kalenda za {country} huonyesha {weekday} kama siku ya kwanza ya wiki.",
        "Siku ya kwanza ya wiki nchini {country} ni {weekday}.",
        "Kalenda iliyochapishwa nchini {country} huweka {weekday} katika safu ya kwanza.",
    ),
    weekend=(
        "Wikendi nchini {country} ni siku za {weekdays}.",
        "Nchini {country}, watu hupumzika siku za {weekdays}.",
        "Ofisi nchini {country} hufungwa siku za {weekdays}.",
    ),
    week_example=(
        "Wiki inayoanza {weekday}, tarehe {start}, inaisha {last_weekday}, tarehe {end}.",
        "Ikiwa wiki inaanza {weekday}, tarehe {start}, basi inaisha {last_weekday}, tarehe {end}.",
        "Kwa mfano, wiki kama hiyo huanza {weekday}, tarehe {start}, hadi {last_weekday}, tarehe "
        "{end}.",
    ),
    month_next=(
        "Baada ya {month} huja {next}.",
        "Mwezi unaofuata {month} ni {next}.",
        "Mwezi wa {month} ukiisha, {next} huanza.",
        "Siku ya mwisho ya {month} hufuatwa na siku ya kwanza ya {next}.",
    ),
    month_previous=(
        "Kabla ya {month} huja {previous}.",
        "Mwezi unaotangulia {month} ni {previous}.",
        "Mwezi wa {previous} ukiisha, {month} huanza.",
        "Mwezi wa {month} hufuata mwezi wa {previous}.",
    ),
    month_place=(
        "{month} ni mwezi wa {n.ord} wa mwaka.",
        "Katika mpangilio wa miezi, {month} ni mwezi wa {n.ord}.",
        "Ukihesabu tangu mwanzo wa mwaka, {month} ni mwezi wa {n.ord}.",
    ),
    month_length=(
        "Mwezi wa {month} una {days}.",
        "Kila mwaka mwezi wa {month} huwa na {days}.",
        "Mwezi wa {month} huchukua {days}.",
    ),
    month_february=(
        "Mwezi wa {month} una siku 28, na siku 29 katika mwaka mrefu.",
        "Miaka mingi mwezi wa {month} huwa na siku 28; katika mwaka mrefu huwa na siku 29.",
        "{month}, mwezi mfupi kuliko yote, una siku 28 au 29.",
    ),
    month_quarter=(
        "Mwezi wa {month} umo katika {quarter} ya mwaka.",
        "{month} ni mwezi wa {quarter}.",
        "Bili ya mwezi wa {month} huandikwa katika {quarter} ya mwaka.",
    ),
    quarter_months=(
        "{quarter} ya mwaka ina miezi ya {months}.",
        "Miezi ya {months} ndiyo {quarter} ya mwaka.",
        "Miezi ya {quarter} ni {months}.",
    ),
    month_between=(
        "{month} ni mwezi ulio kati ya {previous} na {next}.",
        "Kati ya {previous} na {next} kuna mwezi mmoja, {month}.",
        "Katika kalenda, {month} huja baada ya {previous} na kabla ya {next}.",
    ),
    month_span=(
        "Miezi {n} baada ya {month} ni {later}.",
        "Kutoka {month} hadi {later} hupita miezi {n}.",
        "Kazi inayoanza {month} na kuchukua miezi {n} huisha {later}.",
    ),
    weekday_next=(
        "Baada ya {weekday} huja {next}.",
        "Siku inayofuata {weekday} ni {next}.",
        "Ikiwa leo ni {weekday}, kesho ni {next}.",
        "Siku ya {weekday} ikiisha, {next} huanza.",
    ),
    weekday_previous=(
        "Kabla ya {weekday} huja {previous}.",
        "Siku inayotangulia {weekday} ni {previous}.",
        "Ikiwa leo ni {weekday}, jana ilikuwa {previous}.",
        "Siku ya {weekday} huanza {previous} ikiisha.",
    ),
    weekday_between=(
        "{weekday} ni siku iliyo kati ya {previous} na {next}.",
        "Kati ya {previous} na {next} kuna siku moja, {weekday}.",
        "Katika wiki, {weekday} huja baada ya {previous} na kabla ya {next}.",
    ),
    weekday_after=(
        "Siku {n} baada ya {weekday} ni {later}.",
        "Ikiwa leo ni {weekday}, baada ya siku {n} itakuwa {later}.",
        "Ukihesabu siku {n} kuanzia {weekday}, unafika {later}.",
    ),
    date_weekday=(
        "Tarehe {date} ni siku ya {weekday}.",
        "Kalenda inaonyesha {weekday} kwa tarehe {date}.",
        "Tarehe {date} inaangukia siku ya {weekday}.",
        "Siku ya wiki ya tarehe {date} ni {weekday}.",
    ),
    date_next=(
        "Siku inayofuata ni {weekday}, tarehe {next}.",
        "Siku baada ya tarehe {date} ni tarehe {next}, nayo ni {weekday}.",
        "Baada yake huja {weekday}, tarehe {next}.",
    ),
    date_weeks=(
        "Wiki {n} baada ya tarehe {date} ni tarehe {later}, siku ile ile ya wiki.",
        "Ukihesabu wiki {n} kuanzia tarehe {date}, unafika tarehe {later}.",
        "Kozi inayoanza tarehe {date} na kuchukua wiki {n} huwa imekwisha ifikapo tarehe {later}.",
    ),
    date_days=(
        "Siku {n} baada ya tarehe {date} ni tarehe {later}.",
        "Ukihesabu siku {n} kuanzia tarehe {date}, unafika tarehe {later}.",
        "Kifurushi kinachotumwa tarehe {date} na kusafiri kwa siku {n} hufika tarehe {later}.",
    ),
    date_left=(
        "Kutoka tarehe {date} zimebaki siku {n} hadi mwisho wa mwezi.",
        "Baada ya tarehe {date}, siku {n} za mwezi hubaki.",
        "Siku nyingine {n} baada ya tarehe {date} hukamilisha mwezi.",
    ),
    date_ordinal=(
        "Tarehe {date} ni siku ya {n.ord} ya mwaka.",
        "Ukihesabu tangu mwanzo wa mwaka, tarehe {date} ni siku ya {n.ord}.",
        "Katika hesabu ya siku za mwaka, tarehe {date} ina namba {n}.",
    ),
    year_leap=(
        "Mwaka {year.plain} ni mwaka mrefu na una siku 366.",
        "Kwa kuwa {year.plain} ni mwaka mrefu, Februari yake ina siku 29.",
        "Katika mwaka {year.plain}, ambao ni mwaka mrefu, kalenda ina siku 366.",
    ),
    year_common=(
        "Mwaka {year.plain} si mwaka mrefu; una siku 365.",
        "Kwa kuwa {year.plain} si mwaka mrefu, Februari yake ina siku 28.",
        "Katika mwaka {year.plain}, ambao ni mwaka wa kawaida, kalenda ina siku 365.",
    ),
    sum=(
        "{a} kujumlisha {b} ni {c}.",
        "Jumla ya {a} na {b} ni {c}.",
        "Ukiongeza {b} kwenye {a}, unapata {c}.",
        "Kwa pamoja, {a} na {b} ni {c}.",
    ),
    difference=(
        "{a} kutoa {b} ni {c}.",
        "Tofauti kati ya {a} na {b} ni {c}.",
        "Ukitoa {b} kutoka {a}, inabaki {c}.",
        "Kutoka {b} hadi {a} inapungua {c}.",
    ),
    product=(
        "{a} mara {b} ni {c}.",
        "Zao la {a} na {b} ni {c}.",
        "Ukizidisha {a} kwa {b}, unapata {c}.",
        "Masanduku {a} yenye matofaa {b} kila moja yana matofaa {c}.",
    ),
    quotient=(
        "{a} gawanya kwa {b} ni {c}.",
        "Matofaa {a} yakigawanywa sawa kwa watoto {b}, kila mmoja anapata {c}.",
        "{b} inaingia katika {a} mara {c} kamili.",
    ),
    compare=(
        "{a} ni kubwa kuliko {b}.",
        "{b} ni ndogo kuliko {a}.",
        "Kati ya namba {a} na {b}, ya kwanza ndiyo kubwa.",
        "Kwenye mstari wa namba, {a} huja baada ya {b}.",
    ),
    percent=(
        "{percent} ya {whole} ni {part}.",
        "Ikiwa wanafunzi {part} kati ya {whole} wanacheza mpira, hao ni {percent} ya wote.",
        "Kati ya miti {whole}, miti {part} ilikatwa, yaani {percent}.",
        "Aliyesoma kurasa {part} kati ya kurasa {whole} za kitabu amesoma {percent} ya kitabu "
        "hicho.",
    ),
    even=(
        "{n} ni namba shufwa.",
        "Namba {n} inagawanyika kwa mbili bila kubaki kitu, kwa hiyo ni shufwa.",
        "Vitu {n} vinaweza kupangwa viwili viwili bila kubaki hata kimoja.",
    ),
    odd=(
        "{n} ni namba witiri.",
        "Namba {n} haigawanyiki kwa mbili bila kubaki kitu, kwa hiyo ni witiri.",
        "Vitu {n} vikipangwa viwili viwili, kimoja hubaki.",
    ),
    order=(
        "Kutoka ndogo hadi kubwa, namba hizo ni {numbers}.",
        "Kwa mpangilio wa kupanda: {numbers}.",
        "Namba zifuatazo huongezeka kutoka kushoto kwenda kulia: {numbers}.",
    ),
    measure_equal=(
        "{a} ni sawa na {b}.",
        "{a} ni kiasi kile kile cha {b}.",
        "Badala ya {a} unaweza pia kusema {b}.",
        "Ukibadilisha kipimo, {a} ni {b}.",
    ),
    measure_compare=(
        "{a} ni zaidi ya {b}.",
        "{b} ni chini ya {a}.",
        "Kati ya {a} na {b}, kiasi cha kwanza ndicho kikubwa.",
    ),
    measure_sum=(
        "{a} na {b} kwa pamoja ni {c}.",
        "Ukiongeza {b} kwenye {a}, unapata {c}.",
        "Ukijumlisha {a} na {b}, jumla ni {c}.",
    ),
    journey=(
        "Mwendesha baiskeli anayekwenda {step} kila saa anasafiri {total} kwa muda wa {time}.",
        "Meli inayokwenda {step} kwa saa moja inakuwa umbali wa {total} baada ya {time}.",
        "Kwa mwendo wa {step} kila saa, {total} zinahitaji {time}.",
    ),
    recipe=(
        "Kwa ajili ya keki tunachukua unga {flour} na sukari {sugar}, jumla {total}.",
        "Mwokaji anachanganya unga {flour} na sukari {sugar} na kupata {total}.",
        "Kukiwa na unga {flour} na sukari {sugar}, bakuli lina {total}.",
    ),
    trip=(
        "Safari inapitia nchi hizi kwa mpangilio huu: {countries}.",
        "Kundi la marafiki linatembelea nchi hizi moja baada ya nyingine: {countries}.",
        "Wasafiri wanasimama nchini {countries}.",
        "Njia kwenye ramani inaunganisha {countries}.",
    ),
    trip_ends=(
        "Kituo cha kwanza ni {first}, cha mwisho ni {last}.",
        "Safari inaanzia {first} na kuishia {last}.",
        "Wanaondoka {first} na kumalizia {last}.",
    ),
    trip_count=(
        "Hizo ni nchi {n}.",
        "Kwa jumla, nchi {n} zinatembelewa.",
        "Katika orodha kuna nchi {n}.",
    ),
    trip_between=(
        "{country} huja kati ya {previous} na {next}.",
        "Baada ya {previous} na kabla ya {next}, wasafiri wanakaa {country}.",
        "Kutoka {previous} wanakwenda kwanza {country}, kisha {next}.",
    ),
    trip_days=(
        "Wakikaa siku {n} katika kila nchi kati ya nchi {countries_n}, safari inachukua siku "
        "{days}.",
        "Wanakaa siku {n} katika kila nchi, yaani siku {days} kwa jumla.",
        "Safari yote inachukua siku {days}, siku {n} katika kila nchi.",
    ),
)
