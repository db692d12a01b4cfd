"""What the almanac says in Hungarian."""

from langraft.corpus.almanac.wording.shape import Wording

WORDING = Wording(
    currency=(
        "{country.the} hivatalos pénzneme {currency.the}.",
        "{country.the} területén {currency.the} a törvényes fizetőeszköz.",
        "{country.the} lakosai ezzel fizetnek: {currency}.",
        "{country.the} boltjaiban az árak pénzneme {currency.the}.",
    ),
    unit=(
        "{country.the} pénzének neve {unit}.",
        "{country.the} pénzegysége {unit.the}.",
        "{country.the} boltjai ezt a pénzt fogadják el: {unit}.",
        "Aki {country.the} területére utazik, annak helyi pénz kell, ennek a neve {unit}.",
    ),
    money_code=(
        "A következő pénznem nemzetközi kódja {code}: {currency}.",
        "A bankok {code.the} jelet használják erre a pénznemre: {currency}.",
        "Az árfolyamtáblázatokban {currency.the} kódja {code}.",
    ),
    shared=(
        "{currency.the} több ország pénze: {countries}.",
        "Ugyanazt a pénznemet használja {countries.the}; a neve {currency}.",
        "{currency.the} többek között a következő országok közös pénzneme: {countries}.",
    ),
    same_money=(
        "{other.the} pénzneme szintén {currency.the}.",
        "{country.the} és {other.the} között utazva nem kell pénzt váltani, mert mindkét ország "
        "pénzneme {currency.the}.",
        "{country.the} és {other.the} közös pénzneme {currency.the}.",
    ),
    other_money=(
        "{country.the} pénze {unit.the}, {other.the} pénze viszont {other_unit.the}.",
        "Míg {country.the} pénzének neve {unit}, addig {other.the} pénzének neve {other_unit}.",
        "Más a pénzegység a két országban: {country.the} esetében {unit.the}, {other.the} esetében "
        "{other_unit.the}.",
    ),
    price_book=(
        "Ha egy tea ára {cup}, egy könyvé pedig {book}, a kettő együtt {sum}.",
        "Tegyük fel, hogy a tea {cup}, a könyv pedig {book}; ekkor a számla összege {sum}.",
        "A tea ára {cup}, a könyvé {book}; aki mindkettőt megveszi, annak a kiadása {sum}.",
    ),
    price_ticket=(
        "Ha egy jegy ára {ticket}, akkor {n} jegy ára {sum}.",
        "Egy {n} fős csoport jegyei összesen ennyibe kerülnek, ha egy jegy ára {ticket}: {sum}.",
        "Egy {n} fős család jegyeinek ára összesen {sum}, mert egy jegy ára {ticket}.",
    ),
    change=(
        "Ha a számla {price}, és a vevő által átadott összeg {paid}, a visszajáró {change}.",
        "A fizetendő összeg {price}, a vevő pénze {paid}, így a visszajáró {change}.",
        "Ha valakinek a pénze {paid}, és ebből a kiadása {price}, a maradék {change}.",
    ),
    language=(
        "{country.the} hivatalos nyelve {language.the}.",
        "{country.the} államnyelve {language.the}.",
        "{country.the} iskoláiban és bíróságain {language.the} a hivatalos nyelv.",
        "{country.the} törvényeinek nyelve {language.the}.",
    ),
    languages=(
        "{country.the} hivatalos nyelvei: {languages}.",
        "{country.the} több hivatalos nyelvet használ, ezek a következők: {languages}.",
        "{country.the} hivatalaiban ezek a nyelvek használatosak: {languages}.",
        "{country.the} törvényei a következő nyelveken olvashatók: {languages}.",
    ),
    also_language=(
        "{language.the} nyelv {other.the} területén is hivatalos.",
        "{other.the} egyik hivatalos nyelve szintén {language.the}.",
        "{language.the} {other.the} állami életében is hivatalos nyelv.",
    ),
    spoken_in=(
        "{language.the} több országban hivatalos nyelv: {countries}.",
        "Azok közé az országok közé, ahol {language.the} hivatalos nyelv, tartozik "
        "{countries.the}.",
        "{language.the} nyelvet hivatalosan használó országok: {countries}.",
    ),
    other_language=(
        "{country.the} hivatalos nyelve {language.the}, {other.the} hivatalos nyelve viszont "
        "{other_language.the}.",
        "Míg {country.the} államnyelve {language.the}, addig {other.the} államnyelve "
        "{other_language.the}.",
        "Más a hivatalok nyelve a két országban: {country.the} esetében {language.the}, "
        "{other.the} "
        "esetében {other_language.the}.",
    ),
    reader=(
        "{country.the} újságjainak olvasásához hasznos nyelvtudás: {languages}.",
        "Aki {country.the} hivatalaiban akar dolgozni, tanulja meg a következőt: {languages}.",
        "Ha egy fordító {country.the} számára dolgozik, szükséges nyelvtudása: {languages}.",
    ),
    country_code=(
        "{country.the} kétbetűs kódja {code}.",
        "Az országok listáján {country.the} rövidítése {code}.",
        "{code.the} betűk jelentése: {country}.",
    ),
    week=(
        "{country.the} naptárában a hét első napja a {weekday}.",
        "{country.the} területén a hét első napja {weekday}.",
        "{country.the} naptáraiban az első oszlop a {weekday}.",
        "{country.the} lakosai számára a hét ezzel a nappal kezdődik: {weekday}.",
    ),
    weekend=(
        "{country.the} területén a hétvége két napja a {weekdays}.",
        "{country.the} lakosainak két pihenőnapja a {weekdays}.",
        "{country.the} hivatalai két napon vannak zárva, ezek a {weekdays}.",
    ),
    week_example=(
        "Ha a hét első napja {start}, {weekday}, akkor az utolsó {end}, {last_weekday}.",
        "Egy ilyen hét kezdete {start}, {weekday}, a vége pedig {end}, {last_weekday}.",
        "Például {start} {weekday} a hét eleje, és {end} {last_weekday} a hét vége.",
    ),
    month_next=(
        "{month} után {next} következik.",
        "{month.the} utáni hónap neve {next}.",
        "Amikor {month} véget ér, elkezdődik {next.the}.",
        "{month} utolsó napját {next} első napja követi.",
    ),
    month_previous=(
        "{month} előtt {previous} van.",
        "{month.the} előtti hónap neve {previous}.",
        "Amikor {previous} véget ér, {month} kezdődik.",
        "A naptárban {month} {previous.the} utáni hónap.",
    ),
    month_place=(
        "{month.the} az év {n}. hónapja.",
        "A hónapok sorában {month.the} {n.the}.",
        "Az év elejétől számolva {month} {n.the}. hónap.",
    ),
    month_length=(
        "{month} hónapban {days} van.",
        "{month} hónapban minden évben {days} van.",
        "{month} hossza {days}.",
    ),
    month_february=(
        "{month.the} 28 napos, szökőévben 29 napos.",
        "A legtöbb évben {month} 28 napig tart, szökőévben 29 napig.",
        "{month}, a legrövidebb hónap, 28 vagy 29 napból áll.",
    ),
    month_quarter=(
        "{month.the} az év egyik negyedének része: {quarter}.",
        "{month.the} ebbe a negyedévbe esik: {quarter}.",
        "{month.the} havi számla negyedéve: {quarter}.",
    ),
    quarter_months=(
        "{quarter.the} hónapjai: {months}.",
        "A következő három hónap együtt {quarter.the}: {months}.",
        "{months}: ez a három hónap {quarter.the}.",
    ),
    month_between=(
        "{month.the} {previous} és {next} között van.",
        "{previous} és {next} között egy hónap van, {month.the}.",
        "A naptárban {month} {previous} után és {next} előtt áll.",
    ),
    month_span=(
        "{month} után {n} hónappal {later} van.",
        "{n} hónap telik el {month} és {later} között.",
        "Ami {month.in} kezdődik, és {n} hónapig tart, az {later.in} ér véget.",
    ),
    weekday_next=(
        "{weekday} után {next} következik.",
        "A {weekday} utáni nap {next}.",
        "Ha ma {weekday} van, holnap {next} lesz.",
        "Amikor a {weekday} véget ér, elkezdődik a {next}.",
    ),
    weekday_previous=(
        "{weekday} előtt {previous} van.",
        "A {weekday} előtti nap {previous}.",
        "Ha ma {weekday} van, tegnap {previous} volt.",
        "A {weekday} akkor kezdődik, amikor a {previous} véget ér.",
    ),
    weekday_between=(
        "A {weekday} {previous} és {next} között van.",
        "{previous} és {next} között egy nap van, a {weekday}.",
        "A hét napjai között a {weekday} {previous} után és {next} előtt áll.",
    ),
    weekday_after=(
        "{weekday} után {n} nappal {later} van.",
        "Ha ma {weekday} van, {n} nap múlva {later} lesz.",
        "Ha {n} napot számolunk egy {weekday} után, {later} következik.",
    ),
    date_weekday=(
        "{date} {weekday}.",
        "A naptár szerint {date} napja {weekday}.",
        "Ezen a napon {weekday} van: {date}.",
        "A következő dátum {weekday}: {date}.",
    ),
    date_next=(
        "A következő nap {next}, {weekday}.",
        "A {date} utáni nap {next}, és ez {weekday}.",
        "Ezt követi {next}, {weekday}.",
    ),
    date_weeks=(
        "{date} után {n} héttel {later} van, a hétnek ugyanazon a napján.",
        "Ha {date} után {n} hetet számolunk, ez a nap következik: {later}.",
        "Ha egy tanfolyam első napja {date}, és {n} hétig tart, a következő napra már vége: "
        "{later}.",
    ),
    date_days=(
        "{date} után {n} nappal {later} van.",
        "Ha {date} után {n} napot számolunk, ez a nap következik: {later}.",
        "Ha egy csomag feladásának napja {date}, és {n} napig utazik, megérkezésének napja "
        "{later}.",
    ),
    date_left=(
        "{date} után {n} nap van hátra a hónap végéig.",
        "{date} után a hónapból még {n} nap marad.",
        "Ha {date} után még {n} nap eltelik, véget ér a hónap.",
    ),
    date_ordinal=(
        "{date} az év {n}. napja.",
        "Az év elejétől számolva {date} {n.the}. nap.",
        "Az év napjainak sorában {date} sorszáma {n}.",
    ),
    year_leap=(
        "{year.plain_the}. év szökőév, és 366 napból áll.",
        "Mivel {year.plain} szökőév, februárja 29 napos.",
        "{year.plain} szökőév, ezért a naptár 366 napot számol.",
    ),
    year_common=(
        "{year.plain_the}. év nem szökőév; 365 napból áll.",
        "Mivel {year.plain} nem szökőév, februárja 28 napos.",
        "{year.plain} közönséges év, ezért a naptár 365 napot számol.",
    ),
    sum=(
        "{a} meg {b} az {c}.",
        "A következő két szám összege {c}: {a} és {b}.",
        "Ha {a} darabhoz hozzáteszünk még {b} darabot, {c} darab lesz.",
        "{a} és {b} együtt {c}.",
    ),
    difference=(
        "{a} mínusz {b} az {c}.",
        "A következő két szám különbsége {c}: {a} és {b}.",
        "Ha {a} darabból elveszünk {b} darabot, {c} darab marad.",
        "Ha van {a} almánk, és megeszünk belőle {b} almát, {c} alma marad.",
    ),
    product=(
        "{a} szorozva {b} az {c}.",
        "A következő két szám szorzata {c}: {a} és {b}.",
        "Ha összeszorozzuk ezt a két számot: {a} és {b}, az eredmény {c}.",
        "Ha van {a} doboz, és mindegyikben {b} alma, az összesen {c} alma.",
    ),
    quotient=(
        "{a} osztva {b} az {c}.",
        "Ha {a} almát {b} gyerek között egyenlően osztunk el, mindegyiknek {c} alma jut.",
        "A következő két szám hányadosa {c}: {a} és {b}.",
    ),
    compare=(
        "{a} nagyobb, mint {b}.",
        "{b} kisebb, mint {a}.",
        "A két szám, {a} és {b} közül az első a nagyobb.",
        "A számegyenesen {a} később jön, mint {b}.",
    ),
    percent=(
        "Ha az egész {whole}, akkor ennek {percent}-a {part}.",
        "Ha {whole} tanuló közül {part} focizik, az az összes tanuló {percent}-a.",
        "{whole.the} fából {part} fát vágtak ki, vagyis a fák {percent}-át.",
        "Aki egy {whole} oldalas könyvből {part} oldalt olvasott el, a könyv {percent}-át olvasta "
        "el.",
    ),
    even=(
        "{n} páros szám.",
        "{n} maradék nélkül osztható kettővel, tehát páros szám.",
        "Ha van {n} tárgyunk, párokba rakhatjuk őket, és egy sem marad ki.",
    ),
    odd=(
        "{n} páratlan szám.",
        "{n} nem osztható kettővel maradék nélkül, tehát páratlan szám.",
        "Ha van {n} tárgyunk, és párokba rakjuk őket, egy kimarad.",
    ),
    order=(
        "A számok a legkisebbtől a legnagyobbig: {numbers}.",
        "Növekvő sorrendben: {numbers}.",
        "A következő számok balról jobbra nőnek: {numbers}.",
    ),
    measure_equal=(
        "{a} ugyanannyi, mint {b}.",
        "{a} egyenlő ezzel: {b}.",
        "Ahelyett, hogy {a}, azt is mondhatjuk: {b}.",
        "{a} átváltva {b}.",
    ),
    measure_compare=(
        "{a} több, mint {b}.",
        "{b} kevesebb, mint {a}.",
        "A két mennyiség, {a} és {b} közül az első a nagyobb.",
    ),
    measure_sum=(
        "{a} és {b} együtt {c}.",
        "Ha az egyik mennyiség {a}, a másik {b}, az összegük {c}.",
        "Ha összeadjuk a kettőt, {a} meg {b} összesen {c}.",
    ),
    journey=(
        "Ha egy kerékpáros egy óra alatt {step} utat tesz meg, akkor {time} alatt {total} az útja.",
        "Ha egy hajó óránként {step} utat tesz meg, {time} múlva {total} a távolság.",
        "Ha az óránként megtett út {step}, akkor a szükséges idő {time}, míg az egész út {total}.",
    ),
    recipe=(
        "A süteményhez {flour} liszt és {sugar} cukor kell, összesen {total}.",
        "A pék összekever {flour} lisztet és {sugar} cukrot; ez {total}.",
        "Ha a tálban {flour} liszt és {sugar} cukor van, az összesen {total}.",
    ),
    trip=(
        "Az utazás ezeken az országokon át vezet, ebben a sorrendben: {countries}.",
        "Egy baráti társaság egymás után a következő országokat keresi fel: {countries}.",
        "Az utazók a következő országokban állnak meg: {countries}.",
        "A térképen az útvonal ezeket az országokat köti össze: {countries}.",
    ),
    trip_ends=(
        "Az első állomás {first}, az utolsó {last}.",
        "Az út kezdete {first.the}, a vége {last.the}.",
        "A kiindulópont {first.the}, a cél pedig {last.the}.",
    ),
    trip_count=(
        "Ez {n} ország.",
        "Összesen {n} országba jutnak el.",
        "A listán {n} ország szerepel.",
    ),
    trip_between=(
        "{country.the} {previous.the} és {next.the} között következik.",
        "{previous.the} után és {next.the} előtt {country.the} az állomás.",
        "{previous.the} után először {country.the} jön, és csak azután {next.the}.",
    ),
    trip_days=(
        "Ha a {countries_n} ország mindegyikében {n} napot töltenek, az utazás {days} napig tart.",
        "Minden országban {n} napot töltenek, vagyis összesen {days} napot.",
        "Az egész utazás {days} napig tart, minden országban {n} napig.",
    ),
)
