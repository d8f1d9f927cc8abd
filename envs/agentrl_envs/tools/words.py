"""The words that libraries are made of."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "Ada Amir Anna Boris Carla Chen Clara Dana David Elif Emma Farid Fiona Georg Grace Hana Hugo Ines Ivan "
    "Jana Jonas Kai Kofi Lara Leon Lin Luca Maja Marco Mina Nora Omar Otto Paula Petra Rana Rosa Samir Sara "
    "Sven Tara Theo Uma Vera Viktor Wei Yara Yusuf Zoe Zora"
)
LAST_NAMES = _words(
    "Adler Bauer Becker Berg Blum Castro Dietz Ebner Falk Fischer Fuchs Gomez Graf Haas Hahn Horn Ito Jansen "
    "Kaya Keller Kim Klein Koch Kovac Lang Lopez Maier Moreau Nagy Novak Okafor Park Peters Rossi Roth Sato "
    "Schmid Silva Singh Sommer Stein Tanaka Vogel Wagner Weber Winter Wolf Yang Young Zeller"
)
ADJECTIVES = _words(
    "Quiet Broken Golden Hidden Last Long Northern Paper Red Second Silver Sleeping Small Stolen Third Western "
    "White Winter Hollow Distant"
)
NOUNS = _words(
    "Harbour Garden River Letter Mountain Lantern Winter Bridge Island Mirror Orchard Station Summer Teacher "
    "Tower Train Voyage Window Compass Sparrow"
)
GENRES = ("crime", "history", "novel", "poetry", "science", "travel")
BRANCHES = ("Central", "Harbour", "Hillside", "Mill Lane", "Northgate", "Riverside", "Southfield", "Westpark")
MAIL_HOSTS = ("mail.example", "post.example", "inbox.example")
