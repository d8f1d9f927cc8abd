"""Words that names are made of. No word is in two lists of one preset, so that a name tells what it names."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN_NAMES = _listed(
    """Ada Alma Anton Arno Bruno Clara Dario Edith Elin Emil Felix Flora Greta Hanna Hugo Ida Ines Ivo Jakob Jonas
    Karin Lena Leo Lina Lorenz Lucia Magda Maren Marta Milo Nadia Nils Nora Olga Oskar Paula Petra Rosa Selma
    Theo Tilda Viktor Vera Wanda Yara Zoe"""
)
ONSETS = _listed("b br c ch d dr f g gr h j k kl l m n p pr r s st t tr v w z")
VOWELS = _listed("a e i o u ai ei ou")
CODAS = _listed("l ld m n nd r rn rt s st x lm")
SURNAME_ENDS = _listed("berg ko land mann ner ov sen son ström vik")
CITY_ENDS = _listed("burg dal ford grad haven mere minster polis ton wick")
FIRM_ENDS = _listed("Bank Brothers Foods Foundry Glassworks Instruments Motors Press Shipping Textiles")
SCHOOL_ENDS = _listed("Academy College Institute Polytechnic University")
QUALITIES = _listed(
    """Amber Ancient Bitter Borrowed Broken Burning Crooked Distant Drowned Empty Fading Forgotten Frozen Gentle Golden
    Hidden Hollow Idle Last Lonely Lost Narrow Patient Pale Quiet Restless Salted Scarlet Secret Seventh Silent
    Silver Sleeping Sunken Unfinished Velvet Wandering Winter"""
)
THINGS = _listed(
    """Anchor Archive Ballad Bridge Candle Carnival Compass Corridor Crossing Door Feather Garden Harbour Hourglass
    Island Kingdom Ladder Lantern Letter Map Meadow Mirror Orchard Painter Pilgrim Portrait River Sailor Shadow
    Sparrow Stairway Staircase Station Summer Tailor Tide Tower Train Violin Window"""
)

TINY_GIVEN = _listed(
    "Ada Ben Cora Dan Eva Finn Gus Hal Ida Jon Kim Leo Mia Ned Olga Pam Ray Sam Tom Una Vic Walt Yara Zoe"
)
TINY_FAMILY = _listed(
    """Bell Cole Dean Earl Ford Gray Holt Iles Judd Kerr Lane Moss Nash Orr Pike Quinn Reed Shaw Todd Usher Vale Webb
    Yates Zane"""
)
TINY_FIRST = _listed(
    """Red Blue Green White Black Gold East West North South High Low Long Deep Cold Warm Old New Dry Wet Dark Wide Far
    Fair"""
)
TINY_PLACE = _listed(
    """Hill Lake Wood Rock Port Bay Cape Dale Field Marsh Moor Glen Peak Pond Ridge Gate Cross Isle Fort Beach Creek
    Plain Grove Well"""
)
TINY_TRADE = _listed(
    """Iron Steel Glass Paper Wool Salt Sugar Corn Rice Oil Coal Clay Brick Silk Rope Soap Tin Wax Jam Tea Wine Fish
    Bread Milk"""
)
TINY_FIRM = _listed(
    """Works Mill Shop Trust Store House Yard Line Chain Group Club Guild Press Union League Team Farm Forge Plant
    Depot Studio Market Barn Lab"""
)
