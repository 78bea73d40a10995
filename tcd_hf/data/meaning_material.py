"""What texts in videos mean, said without their words: written by hand, and the sentences that ask for it.

One line is one concept: its kind, texts that a sign, label, screen or page shows (any of them), and phrases for what
they mean, which share no word with the texts. No name of a real company is among them, and nothing of any test set.
(Source: ours.)
"""

from dataclasses import dataclass

__all__ = ["FRAMES", "SIGN_CONCEPTS", "Concept"]


@dataclass(frozen=True)
class Concept:
    """Texts and what they mean.

    Attributes:
        kind: what sort of thing it is, a key of `FRAMES`.
        texts: what may be read, each on its own enough.
        meanings: phrases that fit the frames of the kind: a noun phrase, or for `"notice"` a clause.
    """

    kind: str
    texts: tuple[str, ...]
    meanings: tuple[str, ...]


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


FRAMES = {
    "place": _phrases("""
        {m} | outside {m} | someone goes into {m} | people walk past {m} | the front of {m} | a street with {m} |
        we see {m} from across the road | a woman comes out of {m} | the camera shows {m} | a car stops near {m} |
        the building is {m} | {m} at night | this must be {m} | customers stand in {m} | where is {m}?
    """),
    "thing": _phrases("""
        {m} | someone holds up {m} | a table with {m} on it | {m} is shown close to the camera | a shelf full of it:
        {m} | a man buys {m} | she unpacks {m} | a review of {m} | how to use {m} | the box contains {m} |
        they are looking at {m} | an advertisement for {m} | the label tells that this is {m} | a picture of {m}
    """),
    "notice": _phrases("""
        a sign tells people that {m} | the sign means that {m} | a notice on the wall: {m} | we are told that {m} |
        it is written there that {m} | a board makes clear that {m} | {m} | a driver learns that {m} |
        visitors are informed that {m} | somebody points at the rule that {m}
    """),
    "screen": _phrases("""
        {m} | the user clicks on {m} | on the screen there is {m} | a computer shows {m} | a tutorial explains {m} |
        the phone displays {m} | he moves the mouse to {m} | a menu offers {m} | the program opens {m}
    """),
    "document": _phrases("""
        {m} | a page of {m} | someone reads {m} | {m} lies on the desk | he signs {m} | the first lines of {m} |
        a hand turns over {m} | a woman fills in {m} | the paper is {m}
    """),
    "event": _phrases("""
        {m} | it is about {m} | a banner for {m} | the audience of {m} | people have come for {m} | pictures of {m} |
        a report on {m} | we see {m} | the title announces {m} | a crowd at {m} | footage of {m}
    """),
    "person": _phrases("""
        {m} | an interview with {m} | {m} is talking | the badge says that she is {m} | they ask {m} |
        a day in the life of {m} | {m} is introduced with a caption | we watch {m} at work
    """),
}

_TABLE = """
place: PHARMACY / CHEMIST / DRUGSTORE = a shop that sells medicine / somewhere to get pills against a cold
place: BAKERY / FRESH BREAD DAILY = a shop with loaves, rolls and cakes / where one buys something out of the oven
place: BUTCHER / QUALITY MEATS = a shop for sausages and steaks / where beef and lamb are cut up and sold
place: FISHMONGER / SEAFOOD MARKET = somewhere that sells cod, crabs and oysters
place: FLORIST / FRESH FLOWERS = a shop where roses and bouquets are made up
place: BOOKSHOP / BOOKSTORE / SECOND HAND BOOKS = a shop for novels and other reading / where readers find novels
place: BARBER / GENTS HAIRDRESSER = where men have their beards trimmed / a salon that cuts hair for men
place: NAIL SALON / MANICURE = a parlour that polishes fingertips / beauty care for the hands
place: LAUNDRETTE / COIN LAUNDRY = where clothes are washed by machines that take money
place: DRY CLEANERS = a business that gets spots out of suits and coats
place: OPTICIAN / EYE TEST = where people are fitted with glasses / a shop for spectacles and lenses
place: JEWELLER / GOLD AND DIAMONDS = a shop for rings, necklaces and watches
place: HARDWARE STORE / DIY = a shop for nails, paint and tools / where one gets what is needed for repairs at home
place: GREENGROCER / FRUIT & VEG = a seller of apples, carrots and lettuce
place: OFF LICENCE / LIQUOR STORE / WINES & SPIRITS = a shop that sells bottles of alcohol
place: PETS & AQUATICS = a shop for hamsters, food for dogs and things for goldfish
place: TOY STORE / TOYS = a shop that children love, with dolls and games
place: STATIONERY / OFFICE SUPPLIES = a shop for pens, paper and envelopes
place: SHOE REPAIRS / COBBLER = where worn heels and soles are mended
place: TAILOR / ALTERATIONS = somebody who makes suits to measure and shortens trousers
place: PAWNBROKER / CASH FOR GOLD = where people leave valuables to borrow money
place: BUREAU DE CHANGE / CURRENCY EXCHANGE = where travellers swap their money for that of another country
place: BANK / ATM / CASHPOINT = where money can be withdrawn from an account
place: POST OFFICE / MAIL / PARCELS = where letters and packages are sent from
place: LIBRARY = a public building that lends novels for free
place: MUSEUM / EXHIBITION HALL = a building where old and precious objects are shown to visitors
place: ART GALLERY = rooms where paintings hang for people to look at
place: CINEMA / MULTIPLEX / MOVIE THEATRE = where films are watched in the dark
place: OPERA HOUSE / PLAYHOUSE = a stage for singers and actors
place: NIGHTCLUB / DISCO = where young people dance until the morning
place: CASINO / SLOTS / ROULETTE = a place to gamble
place: BOOKMAKER / BETTING SHOP = where one puts money on horses and football results
place: PUB / TAVERN / ALEHOUSE = a place to have a pint of beer
place: COFFEE / ESPRESSO BAR / CAFE = a place for a cappuccino and a croissant
place: TEA ROOM = somewhere that serves scones with a hot drink in the afternoon
place: PIZZERIA / STONE BAKED PIZZA = an Italian restaurant with margherita and calzone
place: SUSHI / JAPANESE RESTAURANT = a place for raw fish on rice from the far east
place: TACOS / BURRITOS / CANTINA = a place with Mexican food
place: KEBAB / DONER / SHAWARMA = fast food of grilled lamb in bread, from Turkey
place: FISH & CHIPS = a British takeaway with fried cod and potatoes
place: CURRY HOUSE / TANDOORI = a restaurant with hot spicy Indian dishes
place: NOODLES / DIM SUM / WOK = Chinese food to eat here or take away
place: ICE CREAM / GELATO = somewhere to get a cold sweet treat in a cone
place: STEAKHOUSE / GRILL = a restaurant for big pieces of beef
place: VEGAN KITCHEN / PLANT BASED = a restaurant that serves no meat, milk or eggs
place: HOTEL / INN / LODGE = a place where travellers sleep / accommodation for the night
place: YOUTH HOSTEL / BACKPACKERS = cheap beds for young travellers
place: CAMPSITE / CARAVAN PARK = where holidaymakers put up their tents
place: PETROL / GAS STATION / FUEL = where drivers fill up the tank
place: CAR WASH = where dirty vehicles get clean
place: TYRES / MOT / GARAGE = a workshop that mends vehicles / mechanics who check brakes and wheels
place: CAR RENTAL / RENT A CAR = a company from which one borrows a vehicle on holiday
place: TAXI / CABS = drivers who take passengers home for money
place: BUS STOP / COACH STATION = where people wait for public transport on the road
place: RAILWAY STATION / PLATFORM 3 / TRAINS = where passengers get on something that runs on rails
place: SUBWAY / METRO / UNDERGROUND = an entrance to the railway below the city
place: AIRPORT / DEPARTURES / TERMINAL 2 = where people fly away from / where planes take off
place: FERRY TERMINAL / HARBOUR = where boats leave for the island
place: HOSPITAL / A&E / EMERGENCY ROOM = where ill and injured people are treated
place: DENTIST / DENTAL CLINIC = where teeth are looked after
place: VETERINARY CLINIC / VETS = doctors for sick cats and dogs
place: MATERNITY WARD = where babies are born
place: POLICE STATION / SHERIFF = where officers take thieves / the office of the law
place: FIRE STATION = where red engines with ladders are kept
place: COURTHOUSE / CROWN COURT = a building where judges decide
place: TOWN HALL / CITY COUNCIL = the seat of the mayor
place: EMBASSY / CONSULATE = the office of a foreign state that gives visas
place: PRIMARY SCHOOL / ELEMENTARY = where small children learn to read and write
place: UNIVERSITY / FACULTY OF LAW = where students work for a degree
place: KINDERGARTEN / NURSERY = where toddlers spend the day
place: CHURCH / CATHEDRAL / PARISH = a house where Christians pray
place: MOSQUE / ISLAMIC CENTRE = a house where Muslims pray
place: SYNAGOGUE = a house where Jews pray
place: CEMETERY / FUNERAL HOME = where the dead are laid to rest
place: GYM / FITNESS / CROSSFIT = where people lift weights to get strong
place: SWIMMING POOL / AQUA PARK = water to bathe in, with lanes and slides
place: BOWLING / 10 PIN = lanes on which heavy balls are rolled
place: ZOO / SAFARI PARK = where elephants and lions are kept
place: FUNFAIR / ROLLER COASTER = rides and attractions that make people scream
place: ESTATE AGENT / HOMES TO LET = where one finds a flat or a house to move into
place: LAW FIRM / SOLICITORS / ATTORNEYS = people who defend others before a judge
place: INSURANCE = a business that pays when something is stolen or burns
place: JOB CENTRE / RECRUITMENT = where the unemployed look for work
place: TRAVEL AGENCY / LAST MINUTE HOLIDAYS = where one books a trip to the sun
place: TATTOO / PIERCING = a studio where needles put pictures on the skin
place: CHARITY SHOP / THRIFT STORE = where used clothes are sold for a good purpose
place: FURNITURE / SOFAS & BEDS = a shop for things to sit and lie on at home
place: MOBILE PHONES / SCREEN REPAIR = a shop that mends broken smartphones
place: MUSIC SHOP / GUITARS = a seller of instruments
place: BIKE SHOP / CYCLES = where two-wheelers are sold and serviced
place: BRIDAL / WEDDING DRESSES = a shop for white gowns
place: SELF STORAGE = rented rooms where people keep their belongings
notice: NO SMOKING = cigarettes are forbidden here / nobody may light up
notice: NO PARKING / TOW AWAY ZONE = cars must not be left here
notice: STOP = drivers have to come to a halt
notice: GIVE WAY / YIELD = others on the road go first
notice: ONE WAY = traffic goes in a single direction only
notice: NO ENTRY / DO NOT ENTER = nobody is allowed to go in
notice: DEAD END / NO THROUGH ROAD = the street leads nowhere else
notice: SPEED LIMIT 30 / SLOW DOWN = cars may not go fast here
notice: ROAD WORKS / MEN AT WORK = the way is being repaired
notice: DETOUR / DIVERSION = drivers must take a different route
notice: SCHOOL ZONE / CHILDREN CROSSING = there are pupils about and one should drive with care
notice: PEDESTRIANS ONLY / NO VEHICLES = nobody but people on foot may pass
notice: TOLL / PAY HERE = one has to give money to use the motorway
notice: DANGER HIGH VOLTAGE = electricity can kill here
notice: WET FLOOR / SLIPPERY = one might fall on what was just mopped
notice: MIND THE GAP = one should watch one's feet when getting off the train
notice: BEWARE OF THE DOG = an animal might bite
notice: FIRE EXIT / EMERGENCY EXIT = this is the way out if something burns
notice: HARD HAT AREA / SAFETY HELMETS MUST BE WORN = heads need protection on the building site
notice: FLAMMABLE / NO NAKED FLAME = it burns easily
notice: POISON / TOXIC = it would kill whoever drinks it
notice: BIOHAZARD / INFECTIOUS = germs may make people ill
notice: RADIOACTIVE / X-RAY = invisible rays are harmful here
notice: DO NOT TOUCH / HANDS OFF = visitors must keep their fingers away
notice: NO PHOTOGRAPHY / NO CAMERAS = taking pictures is forbidden
notice: SILENCE / QUIET PLEASE = people should not make noise
notice: KEEP OFF THE GRASS = nobody should step on the lawn
notice: NO DOGS / NO PETS = animals have to stay outside
notice: NO SWIMMING / NO DIVING = one must not go into the water
notice: CLOSED / SORRY WE ARE SHUT = nobody is served at the moment
notice: OPEN 24 HOURS / ALWAYS OPEN = customers can come at any time of day or night
notice: SALE / 50% OFF / CLEARANCE = everything is cheaper than usual
notice: SOLD OUT / NO TICKETS LEFT = nothing remains to be bought
notice: FREE ADMISSION / FREE ENTRY = one does not have to pay to get in
notice: OUT OF ORDER / NOT IN SERVICE = the machine is broken
notice: RESERVED = the table is being kept for somebody
notice: PUSH = the door must be pressed away from you
notice: PULL = the door has to be drawn towards you
notice: CCTV IN OPERATION / VIDEO SURVEILLANCE = cameras are watching everyone
notice: WASH YOUR HANDS / SANITISER = people should clean their fingers
notice: FACE MASKS REQUIRED / WEAR A MASK = mouth and nose have to be covered
notice: STAFF ONLY / AUTHORISED PERSONNEL = just those who work here may pass this door
notice: CASH ONLY / NO CARDS = one has to pay in coins and notes
notice: WAY OUT / EXIT = this is where one leaves
notice: LADIES / WOMEN = this toilet is for females
notice: GENTS / MEN = this toilet is for males
notice: TICKETS / BOX OFFICE = admission is sold here
notice: LOST PROPERTY / LOST & FOUND = things that people forgot can be collected here
notice: WELCOME = guests are greeted
notice: PRIVATE PROPERTY / NO TRESPASSING = strangers must stay off the land
notice: HELP WANTED / NOW HIRING / VACANCIES = the business is looking for workers
notice: FOR SALE / FOR RENT = somebody new can have the house
notice: RECYCLING / PLASTIC ONLY = waste is sorted so that it can be used again
notice: FRAGILE / HANDLE WITH CARE = what is inside breaks easily
notice: KEEP REFRIGERATED / STORE BELOW 5 = it has to stay cold
notice: BEST BEFORE / USE BY = it should be eaten in time
notice: LEVEL CROSSING / LOOK OUT FOR TRAINS = the road goes over rails
notice: FLOOD WARNING = the river may overflow
notice: LOW BRIDGE / MAX HEADROOM = tall lorries do not fit under it
thing: MINERAL WATER / SPRING WATER = a bottle of something without sugar to quench thirst
thing: LAGER / ALE / STOUT / IPA = a drink brewed from hops and malt
thing: CHARDONNAY / MERLOT / RIOJA = a drink made from grapes
thing: BOURBON / SINGLE MALT / SCOTCH = strong liquor aged in barrels
thing: VODKA / GIN / RUM = a clear spirit for cocktails
thing: COLA / LEMONADE / SODA = a fizzy soft drink with sugar
thing: ORANGE JUICE = a breakfast drink pressed from citrus fruit
thing: SEMI SKIMMED MILK / WHOLE MILK = a white drink from cows
thing: GREEN TEA / EARL GREY = leaves to be put into hot water
thing: ESPRESSO BEANS / DARK ROAST / DECAF = something to brew in the morning to wake up
thing: DARK CHOCOLATE / COCOA = a sweet made from beans that melts in the mouth
thing: POTATO CHIPS / CRISPS = a salty snack in a bag
thing: CORN FLAKES / MUESLI / OATS = a breakfast cereal to eat from a bowl
thing: SPAGHETTI / PENNE / LASAGNE = an Italian staple that is boiled
thing: BASMATI / JASMINE RICE = white grains from Asia to be cooked
thing: KETCHUP / MAYONNAISE / MUSTARD = a sauce to put on burgers and sausages
thing: OLIVE OIL EXTRA VIRGIN = a Mediterranean fat for salads
thing: STRAWBERRY JAM / MARMALADE = a fruit spread for toast
thing: HONEY = what bees make
thing: CHEDDAR / GOUDA / BRIE = a dairy product that mice are said to love
thing: FREE RANGE EGGS = something laid by hens
thing: BABY FORMULA / NAPPIES / DIAPERS = what parents of an infant need
thing: CAT FOOD / DOG BISCUITS = something to feed an animal at home
thing: SHAMPOO / CONDITIONER = a product to wash one's hair
thing: TOOTHPASTE / FLUORIDE = something for cleaning teeth
thing: SUN CREAM SPF 50 / SUNSCREEN = a lotion against burning on the beach
thing: LIPSTICK / MASCARA / FOUNDATION = something that women put on their faces
thing: EAU DE PARFUM / COLOGNE = a scent in a small bottle
thing: IBUPROFEN / ASPIRIN / PARACETAMOL = tablets against a headache
thing: VITAMIN C / MULTIVITAMIN = a supplement that should keep you healthy
thing: BLEACH / DETERGENT / WASHING POWDER = a chemical for cleaning at home
thing: TOILET PAPER / TISSUES = soft rolls for the bathroom
thing: SCREWDRIVER / HAMMER / PLIERS = a tool for fixing things
thing: CHAINSAW / LAWN MOWER = a noisy machine for the garden
thing: VACUUM CLEANER / DUST BAG = an appliance that sucks up dirt
thing: MICROWAVE 800W / AIR FRYER = a kitchen device that heats meals
thing: WASHING MACHINE / SPIN 1400 = a household appliance for clothes
thing: LED TV 4K / SMART TV = something to watch shows on in the living room
thing: HEADPHONES / NOISE CANCELLING / EARBUDS = something to wear for listening to songs
thing: GRAPHICS CARD / RAM 16GB / CPU = a part for building a computer
thing: AA BATTERIES / ALKALINE / 1.5V = small cells that give power to toys and torches
thing: ENGINE OIL 5W-30 / ANTIFREEZE = a fluid for the motor of a vehicle
thing: AMBULANCE / PARAMEDIC = a vehicle that brings the injured to a doctor
thing: FIRE DEPARTMENT / RESCUE LADDER = a vehicle that comes when a house burns
thing: SCHOOL BUS = a yellow vehicle that takes children to their lessons
thing: LEARNER DRIVER / STUDENT DRIVER = a vehicle steered by somebody who has no licence yet
thing: REFUSE COLLECTION / GARBAGE TRUCK = a lorry that picks up the bins
thing: TENT / SLEEPING BAG / 3 SEASON = gear for a night outdoors
thing: TENNIS RACKET / SHUTTLECOCK = equipment to hit balls over a net
thing: YOGA MAT / DUMBBELL 10KG = equipment for exercising at home
thing: BUILDING BRICKS / 500 PIECES / JIGSAW = a toy that has to be put together
screen: SAVE / SAVE AS = a command that keeps the file on the disk
screen: UNDO / CTRL+Z = a command that takes back the last step
screen: COPY PASTE / CTRL+C = putting the same thing somewhere else without typing it again
screen: PRINT PREVIEW / PRINTER READY = the way to get it on paper
screen: DELETE / RECYCLE BIN / TRASH = getting rid of a file
screen: LOGIN / PASSWORD / SIGN IN = a form where users prove who they are
screen: SIGN UP / CREATE ACCOUNT = a form for becoming a new member
screen: ADD TO CART / CHECKOUT / BASKET = buying something in an online shop
screen: DOWNLOAD / INSTALL = getting a program from the internet onto the machine
screen: LOADING / PLEASE WAIT / BUFFERING = something that is not ready yet
screen: 404 NOT FOUND / PAGE DOES NOT EXIST = a web address that leads nowhere
screen: NO SIGNAL / OFFLINE / NO INTERNET = a lost connection
screen: LOW BATTERY / 5% REMAINING / CHARGING = a device that is running out of power
screen: GAME OVER / YOU DIED / TRY AGAIN = the player having lost
screen: LEVEL UP / NEW HIGH SCORE / XP +100 = a player getting better
screen: INBOX / COMPOSE / REPLY ALL = electronic messages
screen: INCOMING CALL / DECLINE / ANSWER = somebody ringing up
screen: BRIGHTNESS / CONTRAST / SATURATION = settings for how a picture looks
screen: VOLUME / MUTE / EQUALIZER = controls for the sound
screen: PIVOT TABLE / SUM(A1:A9) / CELL B4 = software for calculating in rows and columns
screen: LAYERS / BRUSH / OPACITY / CROP = software for retouching photos
screen: TIMELINE / KEYFRAME / RENDER = software for cutting films
screen: DEF MAIN / IMPORT NUMPY / RETURN X = somebody writing a program
screen: SUBSCRIBE / LIKE AND SHARE = a creator asking viewers to follow the channel
screen: TURN LEFT / ETA 14:20 / RECALCULATING = a device that guides a driver
screen: FOLLOWERS / POSTS / STORIES = somebody's page on social media
screen: WIFI / NETWORKS AVAILABLE = choosing a wireless connection
screen: LANGUAGE / REGION / ENGLISH (UK) = choosing how a device speaks to its owner
document: INVOICE / AMOUNT DUE / TOTAL INC VAT = a bill that has to be paid
document: RECEIPT / THANK YOU FOR YOUR PURCHASE = the slip one gets at the till
document: PASSPORT / NATIONALITY = a booklet that is shown at the border
document: DRIVING LICENCE / DRIVER LICENSE = a card that allows somebody to be at the wheel
document: BIRTH CERTIFICATE = proof of when and where somebody came into the world
document: WILL AND TESTAMENT = what somebody wants to happen with his belongings after death
document: CURRICULUM VITAE / RESUME / WORK EXPERIENCE = what one sends when applying for a job
document: CONTRACT / TERMS AND CONDITIONS = an agreement between two parties
document: BOARDING PASS / GATE B12 / SEAT 14A = what one shows before getting on a plane
document: MENU / STARTERS / DESSERTS = a list of dishes in a restaurant
document: RECIPE / INGREDIENTS / PREHEAT OVEN = instructions for cooking
document: TIMETABLE / ARRIVALS / DELAYED = when the next one comes and goes
document: FINAL EXAM / QUESTION 1 / MARKS = a test for students
document: HOMEWORK / WORKSHEET = tasks that pupils do after lessons
document: PRESCRIPTION / TWICE DAILY / DOSAGE = what a doctor writes so that a patient gets pills
document: NUTRITION FACTS / CALORIES / SATURATED FAT = how healthy or fattening a meal is
document: OBITUARY / IN LOVING MEMORY = words about somebody who died
document: HOROSCOPE / ARIES / CAPRICORN = what the stars foretell
document: CROSSWORD / SUDOKU = a puzzle to solve with a pencil
document: TABLE OF CONTENTS / CHAPTER 1 / INDEX = an overview of what a volume treats
document: LOVE LETTER / MY DARLING = lines to somebody who is adored
document: THEOREM / PROOF / QED = mathematics
document: PERIODIC TABLE / H2O / NACL = chemistry
document: PHOTOSYNTHESIS / CELL MEMBRANE = biology
document: SUPPLY AND DEMAND / GDP / INFLATION = economics
document: ELECTION BALLOT / VOTE HERE = what citizens put a cross on
event: BREAKING NEWS / DEVELOPING STORY = something important that has just happened in the world
event: WEATHER FORECAST / SUNNY SPELLS / 12°C = how warm and wet tomorrow will be
event: STOCK MARKET / NASDAQ -2.1% / SHARES FALL = prices at the exchange for investors
event: PREMIER LEAGUE / HALF TIME 1-0 / OFFSIDE = a football match
event: SLAM DUNK / 3RD QUARTER / FREE THROW = a game with hoops and tall players
event: DEUCE / ADVANTAGE / 6-4 SET POINT = a match with rackets on a court
event: TOUCHDOWN / 4TH DOWN / FIELD GOAL = the American game with helmets and an oval ball
event: HOME RUN / INNING / STRIKE OUT = a game with bats and bases
event: WICKETS / OVERS / LBW = the English game of bowlers and batsmen in white
event: BIRDIE / PAR 4 / HOLE 18 = a game with clubs and small balls on greens
event: POLE POSITION / LAP 12 / PIT STOP = a motor race
event: KNOCKOUT / ROUND 3 / HEAVYWEIGHT = a fight with gloves in a ring
event: CHECKMATE / RESIGNS / GRANDMASTER = a game on a board with kings and queens
event: 100M FINAL / PERSONAL BEST / LONG JUMP = athletes who run and leap
event: SLALOM / DOWNHILL / GIANT JUMP = a winter race on snow
event: MERRY CHRISTMAS / SEASON'S GREETINGS = the feast in December with presents under a tree
event: HAPPY NEW YEAR / COUNTDOWN = fireworks at midnight in January
event: HAPPY BIRTHDAY = a party with candles on a cake for somebody who is a year older
event: JUST MARRIED / BRIDE & GROOM = a couple on their wedding day
event: HALLOWEEN / TRICK OR TREAT = children in scary costumes asking for sweets
event: HAPPY EASTER = the spring feast with painted eggs and rabbits
event: GRADUATION / CLASS OF 2024 = students who celebrate their degree in gowns
event: ON STRIKE / FAIR PAY NOW = workers who refuse to work until they get more money
event: CLIMATE JUSTICE / SAVE THE PLANET = a protest against the warming of the earth
event: CEASEFIRE / TROOPS ADVANCE / AIRSTRIKE = fighting between armies
event: EARTHQUAKE / MAGNITUDE 6.8 = the ground shaking and houses falling
event: HURRICANE / CATEGORY 4 / EVACUATE = a violent storm from the sea
event: THE END / DIRECTED BY / CREDITS = a film that is over
event: LIVE CONCERT / WORLD TOUR / ENCORE = a band on stage before its fans
event: MARATHON / FINISH 42.195 = a very long run through the city
event: ELECTION RESULTS / EXIT POLL / 51% OF VOTES = who will govern the country
event: GRAND OPENING / RIBBON CUTTING = the first day of a new business
event: LIFT OFF / T-MINUS 10 / ORBIT = a rocket on its way to space
event: BUY ONE GET ONE FREE / BLACK FRIDAY = bargains that draw crowds of shoppers
person: CHIEF EXECUTIVE / CEO = the head of a company
person: PROFESSOR / SENIOR LECTURER = somebody who teaches at a university
person: SURGEON / CONSULTANT = a doctor who operates
person: NURSE / MIDWIFE = somebody who cares for patients
person: ATTORNEY / BARRISTER = somebody who speaks for the accused before a judge
person: PRIME MINISTER / CHANCELLOR = the leader of a government
person: SENATOR / CONGRESSWOMAN / MP = a politician in parliament
person: EYEWITNESS / BYSTANDER = somebody who saw it happen
person: HEAD COACH / MANAGER = the one who trains a team
person: GOALKEEPER = the player who stops the ball with the hands
person: METEOROLOGIST = an expert for rain and sunshine
person: ECONOMIST / ANALYST = an expert for money and trade
person: ASTRONAUT / COSMONAUT = somebody who travels to space
person: FIREFIGHTER = somebody who puts out flames
person: DETECTIVE / INSPECTOR = somebody who solves crimes
person: SECURITY / GUARD = somebody who watches the door
person: CHEF / SOUS CHEF = somebody who cooks for a living
person: ELECTRICIAN = somebody who lays wires
person: PLUMBER / HEATING ENGINEER = somebody who repairs pipes and taps
person: PILOT / CAPTAIN / FIRST OFFICER = somebody who flies a plane
person: JUDGE / JUSTICE = somebody who passes sentence
person: AUTHOR / NOVELIST = somebody who writes stories
person: PRIEST / BISHOP / REVEREND = a man of the church
person: VOLUNTEER = somebody who helps without being paid
"""


def _concepts(table: str) -> list[Concept]:
    concepts = []
    for line in table.strip().splitlines():
        kind, rest = line.split(": ", 1)
        texts, meanings = rest.split(" = ")
        concepts.append(Concept(kind, tuple(texts.split(" / ")), tuple(meanings.split(" / "))))
    return concepts


SIGN_CONCEPTS = _concepts(_TABLE)
