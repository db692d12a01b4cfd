"""What the almanac says in Turkish."""

from langraft.corpus.almanac.wording.shape import Wording

WORDING = Wording(
    currency=(
        "{country.of} resmî para birimi {currency.is}.",
        "{country.in} {currency} kullanılır.",
        "{country.of} parası {currency} adını taşır.",
        "{country.in} fiyatlar {currency} üzerinden verilir.",
    ),
    unit=(
        "{country.in} para birimi olarak {unit} kullanılır.",
        "{country.of} parasının adı {unit.is}.",
        "{country.in} dükkânlar {unit} kabul eder.",
        "{country.of} parasına {unit} denir; yolcuların bu paraya ihtiyacı vardır.",
    ),
    money_code=(
        "{currency} için kullanılan uluslararası kod: {code}.",
        "Bankalar {currency} için {code} yazar.",
        "Döviz kuru listelerinde {currency}, {code} koduyla gösterilir.",
    ),
    shared=(
        "{countries.in} {currency} kullanılır.",
        "{currency} birçok ülkenin ortak parasıdır, örneğin: {countries}.",
        "{currency} kullanan ülkeler arasında {countries} vardır.",
    ),
    same_money=(
        "Aynı para birimi, yani {currency}, başka bir ülkede, {other.in}, geçerlidir.",
        "{country} ve {other} aynı parayı kullanır: {currency}.",
        "{country} ile {other} arasında yolculuk edenler para bozdurmaz, çünkü iki ülkede de "
        "{currency} "
        "geçerlidir.",
    ),
    other_money=(
        "{country.in} {unit} ile, {other.in} ise {other_unit} ile ödeme yapılır.",
        "{country.of} parası {unit} iken {other.of} parası {other_unit.is}.",
        "{country.in} geçen para {unit}, {other.in} geçen para ise {other_unit.is}.",
    ),
    price_book=(
        "Bir bardak çay {cup}, bir kitap {book} ise ikisi birlikte {sum} eder.",
        "Diyelim ki çay {cup}, kitap da {book}; o zaman hesap {sum} tutar.",
        "Fiyatı {cup} olan bir çay ile fiyatı {book} olan bir kitap alan kişi toplam {sum} öder.",
    ),
    price_ticket=(
        "Bir biletin fiyatı {ticket} ise {n} bilet {sum} tutar.",
        "Bilet fiyatı {ticket} olunca {n} kişilik bir grup {sum} öder.",
        "Tanesi {ticket} olan biletlerden alan {n} kişilik bir aile toplam {sum} öder.",
    ),
    change=(
        "Borcu {price} olan ve {paid} veren kişi {change} para üstü alır.",
        "Hesap {price} tutarsa ve müşteri {paid} verirse, para üstü {change} olur.",
        "Cebinde {paid} olan kişi {price} harcayınca geriye {change} kalır.",
    ),
    language=(
        "{country.in} resmî dil olarak {language} kullanılır.",
        "{country.of} resmî dili {language.is}.",
        "{country.in} okullarda ve mahkemelerde resmî dil olan {language} kullanılır.",
        "{country.of} yasaları {language} yazılır.",
    ),
    languages=(
        "{country.of} resmî dilleri şunlardır: {languages}.",
        "{country.in} birden çok resmî dil vardır: {languages}.",
        "{country.in} devlet dairelerinde {languages} kullanılır.",
        "{country.of} yasaları şu dillerde okunabilir: {languages}.",
    ),
    also_language=(
        "{language} başka bir ülkede, {other.in}, yine resmî dildir.",
        "{other.of} resmî dilleri arasında yine {language} vardır.",
        "Devlet işlerinde {language} kullanan bir başka ülke {other.is}.",
    ),
    spoken_in=(
        "{countries.in} {language} resmî dildir.",
        "Resmî dilleri arasında {language} bulunan ülkelerden bazıları şunlardır: {countries}.",
        "{language} birçok ülkede resmî dildir, örneğin: {countries}.",
    ),
    other_language=(
        "{country.in} resmî dil {language}, {other.in} ise {other_language.is}.",
        "{country.of} resmî dili {language} iken {other.of} resmî dili {other_language.is}.",
        "{country.in} bir devlet dairesine {language}, {other.in} ise {other_language} dilekçe "
        "yazılır.",
    ),
    reader=(
        "{country.of} gazetelerini okumak için {languages} bilmek gerekir.",
        "{country.in} bir devlet dairesinde çalışmak isteyenler {languages} öğrenmelidir.",
        "{country} için çalışan bir çevirmen {languages} bilmelidir.",
    ),
    country_code=(
        "{country.of} iki harfli kodu: {code}.",
        "Ülkeler listesinde {country}, {code} kısaltmasıyla gösterilir.",
        "{code} harfleri {country} anlamına gelir.",
    ),
    week=(
        "{country.in} hafta {weekday} günü başlar.",
        "{country.in} takvimler haftanın ilk günü olarak {weekday} gününü gösterir.",
        "{country.in} haftanın ilk günü {weekday.is}.",
        "{country.in} basılan bir takvimin ilk sütununda {weekday} günü yer alır.",
    ),
    weekend=(
        "{country.in} hafta sonu {weekdays} günlerinden oluşur.",
        "{country.in} insanlar {weekdays} günleri dinlenir.",
        "{country.in} devlet daireleri {weekdays} günleri kapalıdır.",
    ),
    week_example=(
        "İlk günü {start} {weekday} olan bir haftanın son günü {end} {last_weekday} olur.",
        "Hafta {start} {weekday} günü başlarsa {end} {last_weekday} günü biter.",
        "Örneğin böyle bir hafta {start} {weekday} günü başlar, {end} {last_weekday} günü sona "
        "erer.",
    ),
    month_next=(
        "{month} ayından sonra {next} gelir.",
        "{month} ayını izleyen ay {next.is}.",
        "{month} bitince {next} başlar.",
        "{month} ayının son gününden sonra {next} ayının ilk günü gelir.",
    ),
    month_previous=(
        "{month} ayından önce {previous} gelir.",
        "{month} ayından hemen önceki ay {previous.is}.",
        "{previous} bitince {month} başlar.",
        "{month} ayı, {previous} ayının ardından gelir.",
    ),
    month_place=(
        "{month}, yılın {n}. ayıdır.",
        "Ayların sırasında {month} {n}. sıradadır.",
        "Yılın başından sayınca {month} {n}. ay olur.",
    ),
    month_length=(
        "{month} ayı {days} sürer.",
        "{month} ayında her zaman {days} vardır.",
        "{month} ayının uzunluğu {days} olur.",
    ),
    month_february=(
        "{month} ayı 28 gün, artık yıllarda 29 gün sürer.",
        "Çoğu yıl {month} ayında 28 gün vardır; artık yıllarda 29 gün olur.",
        "En kısa ay olan {month} 28 veya 29 gündür.",
    ),
    month_quarter=(
        "{month} ayı yılın {quarter.in} yer alır.",
        "{month}, yılın {quarter.in} bulunur.",
        "Bir {month} faturası yılın {quarter.in} işlenir.",
    ),
    quarter_months=(
        "{quarter} şu aylardan oluşur: {months}.",
        "{months} ayları {quarter} dönemini oluşturur.",
        "{quarter} ayları şunlardır: {months}.",
    ),
    month_between=(
        "{month}, {previous} ile {next} arasındadır.",
        "{previous} ile {next} arasında tek bir ay vardır: {month}.",
        "Takvimde {month}, {previous} ayından sonra ve {next} ayından önce gelir.",
    ),
    month_span=(
        "{month} ayından {n} ay sonra {later} gelir.",
        "{month} ayından {later} ayına kadar {n} ay geçer.",
        "Başlangıcı {month} ayında olan ve {n} ay süren bir iş {later} ayında biter.",
    ),
    weekday_next=(
        "{weekday} gününden sonra {next} gelir.",
        "{weekday} gününü izleyen gün {next.is}.",
        "Bugün {weekday} ise yarın {next} olur.",
        "{weekday} bitince {next} başlar.",
    ),
    weekday_previous=(
        "{weekday} gününden önce {previous} gelir.",
        "{weekday} gününden bir önceki gün {previous.is}.",
        "Bugün {weekday} ise dün {previous} idi.",
        "{previous} bitince {weekday} başlar.",
    ),
    weekday_between=(
        "{weekday}, {previous} ile {next} arasındadır.",
        "{previous} ile {next} arasında tek bir gün vardır: {weekday}.",
        "Haftanın günleri arasında {weekday}, {previous} gününden sonra ve {next} gününden önce "
        "gelir.",
    ),
    weekday_after=(
        "{weekday} gününden {n} gün sonra {later} gelir.",
        "Bugün {weekday} ise {n} gün sonra {later} olacaktır.",
        "{weekday} gününden başlayıp {n} gün sayınca {later} gününe varılır.",
    ),
    date_weekday=(
        "{date} tarihi {weekday} gününe denk gelir.",
        "Takvim {date} için {weekday} gününü gösterir.",
        "{date} günlerden {weekday.is}.",
        "{date} bir {weekday} günüdür.",
    ),
    date_next=(
        "Ertesi gün {next} {weekday} olur.",
        "{date} tarihinden sonraki gün {next} tarihidir ve günlerden {weekday.is}.",
        "Ardından {next} {weekday} günü gelir.",
    ),
    date_weeks=(
        "{date} tarihinden {n} hafta sonra, haftanın aynı gününde, {later} gelir.",
        "{date} tarihinden başlayıp {n} hafta sayarsak {later} tarihine varırız.",
        "{date} tarihinde başlayıp {n} hafta süren bir kurs {later} tarihine kadar bitmiş olur.",
    ),
    date_days=(
        "{date} tarihinden {n} gün sonra {later} gelir.",
        "{date} tarihinden başlayıp {n} gün sayarsak {later} tarihine varırız.",
        "{date} tarihinde gönderilen ve {n} gün yolda kalan bir paket {later} tarihinde ulaşır.",
    ),
    date_left=(
        "{date} tarihinden ayın sonuna kadar {n} gün kalır.",
        "{date} tarihinden sonra ayın {n} günü daha vardır.",
        "{date} tarihinin ardından {n} gün daha geçince ay tamamlanır.",
    ),
    date_ordinal=(
        "{date} yılın {n}. günüdür.",
        "Yılbaşından sayınca {date} {n}. gün olur.",
        "Yılın günleri sırasında {date} tarihinin numarası {n} olur.",
    ),
    year_leap=(
        "{year.plain} yılı artık yıldır ve 366 gün sürer.",
        "{year.plain} artık yıl olduğu için şubat ayı 29 gündür.",
        "Artık yıl olan {year.plain} yılında takvim 366 gün sayar.",
    ),
    year_common=(
        "{year.plain} yılı artık yıl değildir; 365 gün sürer.",
        "{year.plain} artık yıl olmadığı için şubat ayı 28 gündür.",
        "Olağan bir yıl olan {year.plain} yılında takvim 365 gün sayar.",
    ),
    sum=(
        "{a} artı {b}, {c} eder.",
        "{a} ve {b} sayılarının toplamı {c} olur.",
        "{a} sayısına {b} eklersek {c} elde ederiz.",
        "{a} ile {b} birlikte {c} eder.",
    ),
    difference=(
        "{a} eksi {b}, {c} eder.",
        "{a} ve {b} sayılarının farkı {c} olur.",
        "{a} sayısından {b} çıkarırsak geriye {c} kalır.",
        "{a} elmadan {b} tanesi yenirse {c} elma kalır.",
    ),
    product=(
        "{a} çarpı {b}, {c} eder.",
        "{a} ve {b} sayılarının çarpımı {c} olur.",
        "{a} sayısını {b} ile çarparsak {c} elde ederiz.",
        "Her birinde {b} elma olan {a} kutuda {c} elma vardır.",
    ),
    quotient=(
        "{a} bölü {b}, {c} eder.",
        "{a} elma {b} çocuğa eşit olarak dağıtılırsa her birine {c} elma düşer.",
        "{b} sayısı {a} içinde tam {c} kere vardır.",
    ),
    compare=(
        "{a} sayısı {b} sayısından büyüktür.",
        "{b} sayısı {a} sayısından küçüktür.",
        "{a} ve {b} sayılarından ilki daha büyüktür.",
        "Sayı doğrusunda {a}, {b} sayısından sonra gelir.",
    ),
    percent=(
        "{whole} sayısının {percent.part} {part} eder.",
        "{whole} öğrenciden {part} kişi futbol oynuyorsa öğrencilerin {percent.part} futbolcudur.",
        "{whole} ağaçtan {part} tanesi kesildi, yani ağaçların {percent.part} gitti.",
        "{whole} sayfalık bir kitabın {part} sayfasını okuyan kişi için kitabın {percent.part} "
        "bitmiştir.",
    ),
    even=(
        "{n} çift sayıdır.",
        "{n} sayısı ikiye kalansız bölünür, bu yüzden çifttir.",
        "{n} nesne çiftlere ayrılırsa hiçbiri açıkta kalmaz.",
    ),
    odd=(
        "{n} tek sayıdır.",
        "{n} sayısı ikiye kalansız bölünmez, bu yüzden tektir.",
        "{n} nesne çiftlere ayrılırsa bir tanesi açıkta kalır.",
    ),
    order=(
        "En küçükten en büyüğe sayılar şöyledir: {numbers}.",
        "Artan sırayla: {numbers}.",
        "Şu sayılar soldan sağa doğru büyür: {numbers}.",
    ),
    measure_equal=(
        "{a} ile {b} aynı şeydir.",
        "{a}, {b} demektir.",
        "{a} yerine {b} de denebilir.",
        "{a} çevrilince {b} eder.",
    ),
    measure_compare=(
        "{a}, {b} miktarından fazladır.",
        "{b}, {a} miktarından azdır.",
        "{a} ile {b} karşılaştırılırsa ilki daha büyüktür.",
    ),
    measure_sum=(
        "{a} ile {b} birlikte {c} eder.",
        "{a} üzerine {b} eklersek sonuç {c} olur.",
        "{a} ve {b} bir araya gelince toplam {c} olur.",
    ),
    journey=(
        "Saatte {step} yol alan bir bisikletçi {time} içinde {total} gider.",
        "Saatte {step} giden bir gemi {time} sonra {total} uzaktadır.",
        "Saatte {step} hızla {total} yol için {time} gerekir.",
    ),
    recipe=(
        "Kek için {flour} un ve {sugar} şeker alınır; hepsi {total} eder.",
        "Fırıncı {flour} un ile {sugar} şekeri karıştırır ve {total} karışım elde eder.",
        "İçine {flour} un ve {sugar} şeker konan kapta {total} malzeme vardır.",
    ),
    trip=(
        "Yolculuk sırasıyla şu ülkelerden geçer: {countries}.",
        "Bir arkadaş grubu art arda şu ülkelere uğrar: {countries}.",
        "Yolcular {countries.in} mola verir.",
        "Haritadaki yol şu ülkeleri birbirine bağlar: {countries}.",
    ),
    trip_ends=(
        "İlk durak {first}, son durak ise {last} olur.",
        "Yol {first.in} başlar ve {last.in} biter.",
        "Yolculuğun başı {first}, sonu {last} olur.",
    ),
    trip_count=(
        "Bu, {n} ülke eder.",
        "Toplam {n} ülkeye gidilir.",
        "Listede {n} ülke vardır.",
    ),
    trip_between=(
        "{country}, {previous} ile {next} arasında gelir.",
        "Önce {previous}, sonra {country}, en son {next} gelir.",
        "Yolcular {previous} ile {next} arasında {country.in} kalır.",
    ),
    trip_days=(
        "Toplam {countries_n} ülkenin her birinde {n} gün kalınırsa yolculuk {days} gün sürer.",
        "Her ülkede {n} gün, toplamda {days} gün geçirilir.",
        "Bütün yolculuk {days} gün, her ülkede {n} gün sürer.",
    ),
)
