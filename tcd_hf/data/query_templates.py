"""The language of generated queries: how people describe a video and the text they saw in it. (Source: ours.)

`CLAUSES` hold the mention itself, one list for each kind of text; `{x}` is the text. The other lists are what a
sentence is padded with: none of it occurs in the caption except by accident, as in real descriptions.
"""


def _phrases(text: str, nothing: int = 0) -> list[str]:
    """Phrases parted by `|`, and `nothing` empty ones: how often that part of a sentence is left out."""
    return [""] * nothing + [" ".join(phrase.split()) for phrase in text.split("|")]


OPENINGS = _phrases(
    """
a video of | a video showing | this video shows | in this video, | the video is about | a clip of | a clip in which |
there is | we see | we can see | in the clip, | the scene shows | it shows | footage of | a short film about |
the camera shows | a recording of | someone filmed | a close-up of | the beginning of the video shows | at the end, |
at first | a view of | an advertisement for | a tutorial about | a news report about | a vlog about
""",
    nothing=9,
)

SUBJECTS = _phrases("""
a man | a woman | two men | two women | a boy | a girl | a group of people | several people | a crowd | children |
a couple | a young man | an old man | a lady | a person | someone | a player | the players | a team | a driver |
a cyclist | a runner | a teacher | a student | students | a doctor | a police officer | a chef | a cook | a waiter |
a singer | a band | a dancer | a presenter | a news anchor | a reporter | a host | a guest | a politician | a worker |
workers | a farmer | a soldier | a tourist | passengers | a mother | a father | a baby | a dog | a cat | a horse |
a bird | a red car | a white car | a black car | a blue truck | a bus | a yellow taxi | a train | a plane | a boat |
a motorcycle | a bicycle | a shop | a building | a hotel | a restaurant | a bridge | a street | a market | a stadium |
a room | a kitchen | a hand | two hands | a man in a suit | a man in a blue shirt | a woman in a red dress |
a man with glasses | a girl with long hair | a boy in a yellow jacket | a man wearing a cap | the speaker |
the goalkeeper | the referee | the coach | an athlete | a swimmer | a gamer | a character | a cartoon | a robot |
a machine | a phone | a laptop | a screen | a box | a bottle | a can | a cup | a bag | a package | a book |
a newspaper | a poster | a map | a plate of food | a cake
""")

ACTIONS = _phrases("""
is walking | is talking | is speaking | is sitting | is standing | is running | is driving | is cooking | is eating |
is drinking | is playing | is playing football | is playing basketball | is playing the guitar | is playing a game |
is singing | is dancing | is cutting vegetables | is opening a box | is holding a bottle | is holding up a product |
is reading | is writing | is typing | is looking at the camera | is looking around | is smiling | is crying |
is laughing | is shopping | is buying something | is selling things | is riding a bike | is riding a horse |
is swimming | is jumping | is fighting | is crossing the street | is getting out of a car | is parked | is moving |
is flying | is landing | is leaving | arrives | is waiting | is explaining something | is giving a speech |
is giving an interview | is answering questions | is showing how to use it | is demonstrating a device |
is repairing a machine | is painting | is drawing | is building something | is cleaning | is washing |
is pouring water | is mixing ingredients | is putting on make-up | is trying on clothes | is taking pictures |
is making a phone call | is celebrating | is cheering | is shooting | throws the ball | kicks the ball | scores |
hits the ball | serves | wins | loses | is being interviewed | is performing on stage | is exercising | is training |
is teaching | is travelling | is climbing | is skiing | is fishing | is sleeping | is feeding animals |
is planting flowers | is unboxing a product | is reviewing a phone | is editing a file | is scrolling through a page |
is clicking on a button | appears | can be seen | is shown | is on display | are gathered |
are talking to each other | are walking together | are competing | are racing | are sitting around a table |
are having dinner | are shaking hands | are marching
""")

PLACES = _phrases(
    """
in the street | on the street | on a busy road | in a shop | in a store | in a supermarket | in a kitchen |
in a room | in an office | in a classroom | in a studio | in a park | in a garden | on a field | on a court |
in a stadium | in a gym | on a stage | at night | during the day | in the rain | in the snow | on the beach | at sea |
in the mountains | in the forest | at a station | at an airport | on a platform | in a car | inside a bus |
in a restaurant | at a bar | in a hotel | in a hospital | in a museum | in a library | at home | at a table |
at a desk | in front of a building | in front of a wall | next to a window | in the background | in the city |
in a village | on a farm | in a factory | in a warehouse | in a laboratory | in a court room | at a conference |
on television | on a computer screen | on a phone | in a video game | with friends | with his family |
with a microphone | with a knife | slowly | quickly | again | while people watch | while music plays | under a tree |
under the bridge | near the river | by the road | behind a counter | on the left | on the right
""",
    nothing=5,
)

TAILS = _phrases(
    """
and then walks away | and people are clapping | and fresh vegetables are offered | and it is raining |
with many cars around | with a white background | with a blue sky | and the sun is shining | before the race starts |
after the match | while the audience is watching | and smiles at the camera | and explains how it works |
with colourful lights | and there are flowers on the table | as the camera moves closer | with trees on both sides |
and a dog runs by | and a child is playing | with mountains behind | and some people are sitting outside |
for the first time | during an interview | in slow motion | with subtitles | in black and white | and other things
""",
    nothing=10,
)

_SIGN = _phrases("""
with a sign that says {x} | with a sign reading {x} | a sign reads {x} | the sign says "{x}" | under a {x} sign |
with the words {x} | with the words "{x}" on it | the words {x} appear | the text {x} is visible |
{x} is written on the wall | {x} is written on the board | with {x} written on it | that reads {x} | labelled {x} |
marked {x} | and the text says {x} | the screen shows {x} | a banner says {x} | with a banner for {x} |
a poster for {x} | a poster about {x} | in front of a sign for {x} | the caption says {x} | the subtitle reads {x} |
the headline is {x} | with the headline {x} | a notice about {x} | {x} appears on the screen | the display shows {x} |
printed with {x} | next to a board with {x} | the menu has {x} | the button {x} | clicks on {x} |
selects {x} from the menu | a wall with {x} on it | the label says {x} | a warning that says {x} | about {x} |
the topic is {x} | a slide about {x} | a lesson on {x} | a recipe for {x}
""")
_BRAND = _phrases("""
in front of the {x} store | the store {x} | the shop {x} | walks past {x} | at {x} | in a {x} shop | outside {x} |
entering {x} | leaving {x} | next to {x} | a bottle of {x} | a can of {x} | a box of {x} | a pack of {x} |
holding a {x} product | wearing a {x} shirt | with the {x} logo | the {x} logo is visible | an ad for {x} |
sponsored by {x} | a {x} truck | a {x} bus passes by | made by {x} | of the brand {x} | a {x} machine | uses {x} |
buys {x} | drinks {x} | eats {x} | opens {x} | a {x} advertisement | the building of {x} | the company {x} |
a restaurant named {x} | a cafe called {x} | a hotel called {x} | the {x} channel | using the app {x} |
plays the game {x} | the website of {x} | a pair of {x} shoes | reviews the {x} | unboxes the {x} |
near the {x} bank | by {x} | with the {x} logo in the corner | with the {x} watermark
""")
_PERSON = _phrases("""
with {x} | {x} is speaking | {x} is playing | {x} scores | an interview with {x} | named {x} | whose name is {x} |
{x} wins | a speech by {x} | {x} talks about it | a song by {x} | the singer {x} | the player {x} |
the name {x} is on the shirt | directed by {x} | starring {x} | written by {x} | a book by {x} | dr {x} |
professor {x} | mr {x} | president {x} | the reporter {x} | the minister {x} | {x} is introduced |
{x} against an opponent | a portrait of {x} | the driver {x} | a memorial for {x} | the anchor {x} | hosted by {x} |
{x} takes the lead | {x} prepares to serve | a message from {x} | vote for {x} | thanks to {x}
""")
_PLACE = _phrases("""
in {x} | at {x} | near {x} | to {x} | from {x} | on the way to {x} | the road to {x} | the city of {x} |
a sign for {x} | a bus to {x} | a train to {x} | the exit to {x} | welcome to {x} | a tour of {x} | a map of {x} |
the flag of {x} | people of {x} | arriving in {x} | {x} is shown on the map | live from {x} | news from {x} |
weather in {x} | a match in {x} | the {x} stop | turns into {x} | a flight to {x} | made in {x} | tourists visit {x} |
an accident in {x}
""")
_NUMBER = _phrases("""
number {x} | with number {x} | the number {x} | wearing number {x} | wearing jersey number {x} | {x} on the shirt |
with {x} on it | the counter shows {x} | the display shows {x} | {x} is on the door | room {x} | channel {x} |
bus {x} | line {x} | platform {x} | gate {x} | page {x} | level {x} | a weight of {x} | a speed of {x} |
it shows {x} | episode {x} | step {x} | question {x} | house number {x} | with a value of {x} | about {x} |
contains {x} | lot {x} | {x} is displayed | the score is {x} | {x} points
""")
_PLATE = _phrases("""
with the plate {x} | with licence plate {x} | a car with number plate {x} | the license plate reads {x} |
the plate number is {x} | registration {x} | flight {x} | with the code {x} | the serial number {x} | marked {x} |
a truck with plate {x} | {x} is written on the car | the vehicle {x} | model {x} | train {x}
""")
_PRICE = _phrases("""
for {x} | costs {x} | at {x} | a price of {x} | the price is {x} | only {x} | priced at {x} |
with a price tag of {x} | a sale with {x} | sold for {x} | a discount of {x} | and it costs {x} |
the sign offers {x} | worth {x} | pays {x} | save {x} | bids {x}
""")
_TIME = _phrases("""
at {x} | on {x} | the clock shows {x} | the clock says {x} | the time is {x} | dated {x} | from {x} | open until {x} |
opens at {x} | closes at {x} | in {x} | the timer shows {x} | with {x} left | the date is {x} | recorded on {x} |
since {x} | departs at {x} | live at {x} | the event is on {x}
""")
_SCORE = _phrases("""
the score is {x} | the score board shows {x} | with a score of {x} | {x} on the scoreboard | the match stands at {x} |
the result is {x} | a game that ended {x} | the board reads {x} | during the match {x} | leading {x} |
the final score {x}
""")
_CONTACT = _phrases("""
with the website {x} | the address {x} | visit {x} | go to {x} | the link {x} is shown | contact {x} | call {x} |
the phone number {x} | {x} is shown below | follow {x} | the account {x} | posted by {x} | the page {x} is opened |
with {x} at the bottom | more information at {x} | the watermark {x}
""")
_TITLE = _phrases("""
a book called {x} | the book {x} | opens a book called {x} | a film called {x} | the movie {x} | the title {x} |
titled {x} | with the title {x} | reading {x} | a lecture on {x} | the song {x} | the show {x} | a poster of {x} |
the cover of {x} | a magazine with {x} | the programme {x} | the trailer of {x} | an episode of {x} |
a game called {x} | the newspaper says {x} | breaking news: {x} | a presentation about {x} | a chapter called {x}
""")

CLAUSES = {
    "words": _SIGN,
    "name": _PERSON,
    "place": _PLACE,
    "brand": _BRAND,
    "title": _TITLE,
    "number": _NUMBER,
    "plate": _PLATE,
    "price": _PRICE,
    "time": _TIME,
    "score": _SCORE,
    "contact": _CONTACT,
    "other_script": _SIGN + _BRAND,
}

SEARCHES = _phrases("""
{x} | {x} | {x} video | find {x} | where does it say {x} | show me {x} | video with {x} | {x} please |
the one with {x} | text {x} | watch {x}
""")

# What is printed nearly everywhere, and so says little about which video it was read in.
EVERYWHERE = _phrases("""
OPEN | CLOSED | EXIT | ENTRANCE | PUSH | PULL | STOP | SALE | NEW | FREE | LIVE | BREAKING NEWS | WELCOME | MENU |
START | SETTINGS | HOME | BACK | NEXT | CANCEL | OK | SEARCH | FILE | EDIT | VIEW | HELP | SUBSCRIBE | LIKE | SHARE |
PLAY | PAUSE | LOADING | TAXI | BUS | POLICE | PARKING | NO PARKING | NO SMOKING | HOTEL | CAFE | BAR | RESTAURANT |
COFFEE | PIZZA | BANK | PHARMACY | MARKET | SHOP | TICKETS | TOILETS | CAUTION | DANGER | WARNING | ONE WAY |
SPEED LIMIT | REC | HD | 4K | www | .com | TM | © | ® | THE | OF | AND | FOR | TO | IN | YOUR | WITH | FROM | BY |
DAY | TIME | TOTAL | PRICE | SCORE | HALF | FINAL | ROUND | QUARTER | SET | GAME | TEAM | PLAYER | WINNER |
CHAMPIONSHIP | LEAGUE | CUP | WORLD | NEWS | WEATHER | TODAY | TOMORROW | BEST | FRESH | ORIGINAL | QUALITY |
NATURAL | 100% | DELICIOUS | SPECIAL | OFFER | BUY | NOW | ONLY | ONLINE | CALL | US | PHOTO | VIDEO | CAMERA |
CHAPTER | PAGE | STEP | LEVEL | LOGIN | PASSWORD | EMAIL | NAME | ADDRESS | PHONE | DATE | INFORMATION | SERVICE |
CENTER | CITY | STREET | ROAD | EXPRESS | SUPER | MEGA | MAX | PLUS | PRO
""")
