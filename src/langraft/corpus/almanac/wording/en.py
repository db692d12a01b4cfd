"""What the almanac says in English."""

from langraft.corpus.almanac.wording.shape import Wording

WORDING = Wording(
    currency=(
        "The currency of {country} is the {currency}.",
        "The legal tender in {country} is the {currency}.",
        "People in {country} pay with the {currency}.",
        "In {country}, prices are given in the {currency}.",
    ),
    unit=(
        "The money of {country} is called the {unit}.",
        "In {country}, the unit of money is the {unit}.",
        "Shops in {country} take the {unit}.",
        "Whoever travels to {country} needs the {unit}, the money of that country.",
    ),
    money_code=(
        "The international code of the {currency} is {code}.",
        "Banks write {code} for the {currency}.",
        "On a list of exchange rates, the {currency} appears as {code}.",
    ),
    shared=(
        "The {currency} is used in {countries}.",
        "Among the countries that pay with the {currency} are {countries}.",
        "One and the same currency, the {currency}, serves {countries}.",
    ),
    same_money=(
        "The same currency, the {currency}, is also used in {other}.",
        "No money has to be changed on the way from {country} to {other}: both use the {currency}.",
        "Both {country} and {other} use the {currency}.",
    ),
    other_money=(
        "In {country} one pays with the {unit}, but in {other} with the {other_unit}.",
        "While the money of {country} is the {unit}, that of {other} is the {other_unit}.",
        "A traveller from {other} changes the {other_unit} for the {unit} on arriving in "
        "{country}.",
    ),
    price_book=(
        "If a cup of tea costs {cup} and a book {book}, together they cost {sum}.",
        "Suppose that tea is sold for {cup} and a book for {book}; the bill then comes to {sum}.",
        "Someone who buys a cup of tea for {cup} and a book for {book} spends {sum}.",
    ),
    price_ticket=(
        "If one ticket costs {ticket}, then {n} tickets cost {sum}.",
        "At {ticket} a ticket, a group of {n} people pays {sum}.",
        "A family of {n} that buys tickets at {ticket} each pays {sum} in all.",
    ),
    change=(
        "Whoever owes {price} and hands over {paid} gets {change} back.",
        "Someone who pays a bill of {price} with {paid} receives {change} in change.",
        "Out of {paid}, once {price} has been paid, {change} is left.",
    ),
    language=(
        "The official language of {country} is {language}.",
        "In {country}, the language of the state is {language}.",
        "Schools and courts in {country} use {language}, the official language.",
        "Laws in {country} are written in {language}.",
    ),
    languages=(
        "The official languages of {country} are {languages}.",
        "There are several official languages in {country}: {languages}.",
        "In {country}, the state uses {languages}.",
        "Laws in {country} may be read in {languages}.",
    ),
    also_language=(
        "{language} is an official language in {other} too.",
        "In {other} as well, {language} has official status.",
        "{language} is also used by the state in {other}.",
    ),
    spoken_in=(
        "{language} is an official language in {countries}.",
        "Among the countries where {language} is official are {countries}.",
        "The states that use {language} include {countries}.",
    ),
    other_language=(
        "In {country} the official language is {language}, but in {other} it is {other_language}.",
        "While the state speaks {language} in {country}, in {other} it speaks {other_language}.",
        "A letter to an office in {country} is written in {language}, one to an office in {other} "
        "in "
        "{other_language}.",
    ),
    reader=(
        "To read the newspapers of {country}, it helps to know {languages}.",
        "Anyone who wants to work in an office in {country} should learn {languages}.",
        "A translator who works for {country} must know {languages}.",
    ),
    country_code=(
        "The two-letter code of {country} is {code}.",
        "On the list of countries, the abbreviation for {country} is {code}.",
        "The letters {code} stand for {country}.",
    ),
    week=(
        "In {country}, the week begins on {weekday}.",
        "Calendars in {country} show {weekday} as the first day of the week.",
        "The first day of the week in {country} is {weekday}.",
        "A calendar printed in {country} puts {weekday} in the first column.",
    ),
    weekend=(
        "The weekend in {country} is made up of {weekdays}.",
        "In {country}, people rest on {weekdays}.",
        "Offices in {country} are closed on {weekdays}.",
    ),
    week_example=(
        "A week that begins on {weekday}, {start}, ends on {last_weekday}, {end}.",
        "If {weekday}, {start}, opens the week, then {last_weekday}, {end}, closes it.",
        "For example, one such week runs from {weekday}, {start}, to {last_weekday}, {end}.",
    ),
    month_next=(
        "After {month} comes {next}.",
        "The month that follows {month} is {next}.",
        "When {month} is over, {next} begins.",
        "The last day of {month} is followed by the first day of {next}.",
    ),
    month_previous=(
        "Before {month} comes {previous}.",
        "The month just before {month} is {previous}.",
        "When {previous} ends, {month} begins.",
        "{month} follows {previous}.",
    ),
    month_place=(
        "{month} is the {n.ord} month of the year.",
        "In the order of the months, {month} is the {n.ord}.",
        "Counting from January, {month} is the {n.ord} month.",
    ),
    month_length=(
        "{month} has {days}.",
        "There are always {days} in {month}.",
        "{month} lasts {days}.",
    ),
    month_february=(
        "{month} has 28 days, and 29 in a leap year.",
        "In most years {month} lasts 28 days; in a leap year it lasts 29.",
        "{month}, the shortest month, has 28 or 29 days.",
    ),
    month_quarter=(
        "{month} belongs to the {quarter} of the year.",
        "{month} falls in the {quarter}.",
        "A bill from {month} is booked in the {quarter} of the year.",
    ),
    quarter_months=(
        "The {quarter} is made up of {months}.",
        "{months} form the {quarter} of the year.",
        "The months of the {quarter} are {months}.",
    ),
    month_between=(
        "{month} lies between {previous} and {next}.",
        "Between {previous} and {next} there is one month, {month}.",
        "On the calendar, {month} stands after {previous} and before {next}.",
    ),
    month_span=(
        "{n} months after {month} it is {later}.",
        "From {month} to {later} it takes {n} months.",
        "What begins in {month} and lasts {n} months ends in {later}.",
    ),
    weekday_next=(
        "After {weekday} comes {next}.",
        "The day after {weekday} is {next}.",
        "If today is {weekday}, tomorrow is {next}.",
        "When {weekday} is over, {next} begins.",
    ),
    weekday_previous=(
        "Before {weekday} comes {previous}.",
        "The day before {weekday} is {previous}.",
        "If today is {weekday}, yesterday was {previous}.",
        "{weekday} begins when {previous} ends.",
    ),
    weekday_between=(
        "{weekday} lies between {previous} and {next}.",
        "Between {previous} and {next} there is one day, {weekday}.",
        "In the week, {weekday} stands after {previous} and before {next}.",
    ),
    weekday_after=(
        "{n} days after {weekday} it is {later}.",
        "If today is {weekday}, in {n} days it will be {later}.",
        "Counting {n} days from {weekday}, one arrives at {later}.",
    ),
    date_weekday=(
        "{date} is a {weekday}.",
        "The calendar shows {weekday} for {date}.",
        "On {date} the day of the week is {weekday}.",
        "{date} falls on a {weekday}.",
    ),
    date_next=(
        "The next day is {next}, a {weekday}.",
        "The day after {date} is {next}, and it is a {weekday}.",
        "It is followed by {weekday}, {next}.",
    ),
    date_weeks=(
        "{n} weeks after {date} it is {later}, the same day of the week.",
        "If you count {n} weeks from {date}, you arrive at {later}.",
        "A course that starts on {date} and lasts {n} weeks is over by {later}.",
    ),
    date_days=(
        "{n} days after {date} it is {later}.",
        "If you count {n} days from {date}, you arrive at {later}.",
        "A parcel sent on {date} that travels for {n} days arrives on {later}.",
    ),
    date_left=(
        "From {date} there are {n} days left until the end of the month.",
        "After {date}, {n} days of the month remain.",
        "Another {n} days after {date} complete the month.",
    ),
    date_ordinal=(
        "{date} is the {n.ord} day of the year.",
        "Counted from the first of January, {date} is the {n.ord} day.",
        "In the count of the days of the year, {date} has number {n}.",
    ),
    year_leap=(
        "The year {year.plain} is a leap year and has 366 days.",
        "Since {year.plain} is a leap year, its February has 29 days.",
        "In {year.plain}, a leap year, the calendar counts 366 days.",
    ),
    year_common=(
        "The year {year.plain} is not a leap year; it has 365 days.",
        "Since {year.plain} is a common year, its February has 28 days.",
        "In {year.plain}, a common year, the calendar counts 365 days.",
    ),
    sum=(
        "{a} plus {b} is {c}.",
        "The sum of {a} and {b} is {c}.",
        "If you add {b} to {a}, you get {c}.",
        "Together, {a} and {b} make {c}.",
    ),
    difference=(
        "{a} minus {b} is {c}.",
        "The difference between {a} and {b} is {c}.",
        "If you take {b} away from {a}, {c} is left.",
        "From {b} up to {a}, {c} is missing.",
    ),
    product=(
        "{a} times {b} is {c}.",
        "The product of {a} and {b} is {c}.",
        "If you multiply {a} by {b}, you get {c}.",
        "{a} boxes with {b} apples each hold {c} apples.",
    ),
    quotient=(
        "{a} divided by {b} is {c}.",
        "If {a} apples are shared equally among {b} children, each gets {c}.",
        "{b} goes into {a} exactly {c} times.",
    ),
    compare=(
        "{a} is greater than {b}.",
        "{b} is smaller than {a}.",
        "Of the numbers {a} and {b}, the first is the greater.",
        "On the number line, {a} comes after {b}.",
    ),
    percent=(
        "{percent} of {whole} is {part}.",
        "If {part} out of {whole} pupils play football, that is {percent} of them.",
        "Of {whole} trees, {part} were felled, in other words {percent}.",
        "Someone who has read {part} of the {whole} pages of a book has read {percent} of it.",
    ),
    even=(
        "{n} is an even number.",
        "The number {n} can be divided by two without remainder, so it is even.",
        "{n} things can be put into pairs with none left over.",
    ),
    odd=(
        "{n} is an odd number.",
        "The number {n} cannot be divided by two without remainder, so it is odd.",
        "If {n} things are put into pairs, one is left over.",
    ),
    order=(
        "From the smallest to the largest, the numbers are {numbers}.",
        "In ascending order: {numbers}.",
        "The following numbers grow from left to right: {numbers}.",
    ),
    measure_equal=(
        "{a} is the same as {b}.",
        "{a} equals {b}.",
        "Instead of {a} one can also say {b}.",
        "Converted, {a} is {b}.",
    ),
    measure_compare=(
        "{a} is more than {b}.",
        "{b} is less than {a}.",
        "Of {a} and {b}, the first is the larger amount.",
    ),
    measure_sum=(
        "{a} and {b} together make {c}.",
        "If you add {b} to {a}, the result is {c}.",
        "Put together, {a} and {b} come to {c}.",
    ),
    journey=(
        "A cyclist who covers {step} every hour rides {total} in {time}.",
        "A boat that makes {step} an hour is {total} away after {time}.",
        "At {step} an hour, {time} are needed for {total}.",
    ),
    recipe=(
        "For the cake one takes {flour} of flour and {sugar} of sugar, {total} in all.",
        "The baker mixes {flour} of flour with {sugar} of sugar and gets {total}.",
        "With {flour} of flour and {sugar} of sugar, the bowl holds {total}.",
    ),
    trip=(
        "The journey leads through {countries}, in this order.",
        "A group of friends visits {countries} one after the other.",
        "The travellers stop in {countries}.",
        "The route on the map joins {countries}.",
    ),
    trip_ends=(
        "The first stop is {first}, the last is {last}.",
        "It begins in {first} and ends in {last}.",
        "They set out from {first} and finish in {last}.",
    ),
    trip_count=(
        "That makes {n} countries.",
        "In all, {n} countries are visited.",
        "There are {n} countries on the list.",
    ),
    trip_between=(
        "Between {previous} and {next} the route touches {country}.",
        "After {previous} and before {next}, the travellers stay in {country}.",
        "From {previous} they go to {country} first, and only then to {next}.",
    ),
    trip_days=(
        "With {n} days in each of the {countries_n} countries, the journey takes {days} days.",
        "They spend {n} days in every country, so {days} days in all.",
        "The whole journey lasts {days} days, {n} in each country.",
    ),
)
