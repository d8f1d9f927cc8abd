"""What exists in the household world: types of rooms, receptacles, objects and tasks, and what they afford.

The tables of what may lie where and what can be heated, cooled, cleaned or sliced are those of ALFRED/ALFWorld
(Shridhar et al. 2020, 2021); how many receptacles a room has follows the counts of their 120 rooms.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
RoomKind = Literal["kitchen", "livingroom", "bedroom", "bathroom"]

PICK: TaskType = "pick_and_place_simple"
LOOK: TaskType = "look_at_obj_in_light"
CLEAN: TaskType = "pick_clean_then_place_in_recep"
HEAT: TaskType = "pick_heat_then_place_in_recep"
COOL: TaskType = "pick_cool_then_place_in_recep"
TWO: TaskType = "pick_two_obj_and_place"
TASK_TYPES: tuple[TaskType, ...] = (PICK, LOOK, CLEAN, HEAT, COOL, TWO)

ROOM_WEIGHTS: dict[RoomKind, float] = {"kitchen": 0.5, "livingroom": 0.2, "bedroom": 0.15, "bathroom": 0.15}
ROOMS_OF_TASK: dict[TaskType, tuple[RoomKind, ...]] = {
    PICK: ("kitchen", "livingroom", "bedroom", "bathroom"),
    LOOK: ("livingroom", "bedroom"),
    CLEAN: ("kitchen", "bathroom"),
    HEAT: ("kitchen",),
    COOL: ("kitchen",),
    TWO: ("kitchen", "livingroom", "bedroom", "bathroom"),
}


class Chore(NamedTuple):
    """A change made to the held object at an appliance."""

    verb: str
    appliance: str
    milestone: str


CHORES: dict[TaskType, Chore] = {
    CLEAN: Chore("clean", "sinkbasin", "cleaned"),
    HEAT: Chore("heat", "microwave", "heated"),
    COOL: Chore("cool", "fridge", "cooled"),
}
APPLIANCES: dict[str, str] = {chore.verb: chore.appliance for chore in CHORES.values()}
WORDINGS: dict[TaskType, tuple[str, str]] = {
    PICK: ("put a {object} in {receptacle}", "put some {object} on {receptacle}"),
    LOOK: ("look at {object} under the {lamp}", "examine the {object} with the {lamp}"),
    CLEAN: ("put a clean {object} in {receptacle}", "clean some {object} and put it in {receptacle}"),
    HEAT: ("put a hot {object} in {receptacle}", "heat some {object} and put it in {receptacle}"),
    COOL: ("put a cool {object} in {receptacle}", "cool some {object} and put it in {receptacle}"),
    TWO: ("put two {object} in {receptacle}", "find two {object} and put them in {receptacle}"),
}

OPENABLE = frozenset({"box", "cabinet", "drawer", "fridge", "microwave", "safe"})
LAMPS = ("desklamp", "floorlamp")
KNIVES = frozenset({"butterknife", "knife"})
SLICEABLE = frozenset({"apple", "bread", "egg", "lettuce", "potato", "tomato"})
CHANGEABLE: dict[str, frozenset[str]] = {
    verb: frozenset(objects.split())
    for verb, objects in {
        "heat": "apple bread cup egg mug plate potato tomato",
        "cool": "apple bowl bread cup egg lettuce mug pan plate pot potato tomato winebottle",
        "clean": "apple bowl butterknife cloth cup dishsponge egg fork kettle knife ladle lettuce mug pan plate pot "
        "potato soapbar spatula spoon tomato",
    }.items()
}

_SOFT = "basketball book box cellphone cloth creditcard keychain laptop newspaper pillow remotecontrol"
_TABLE = (
    "alarmclock apple baseballbat basketball book bowl box bread butterknife cd candle cellphone cloth creditcard cup "
    "dishsponge egg fork glassbottle handtowel kettle keychain knife ladle laptop lettuce mug newspaper pan papertowel "
    "pen pencil peppershaker plate pot potato remotecontrol saltshaker soapbar soapbottle spatula spoon spraybottle "
    "statue tennisracket tissuebox toiletpaper tomato vase watch wateringcan winebottle"
)
HOLDS: dict[str, frozenset[str]] = {
    receptacle: frozenset(objects.split())
    for receptacle, objects in {
        "armchair": _SOFT,
        "bathtubbasin": "cloth dishsponge handtowel soapbar",
        "bed": "baseballbat basketball book cellphone laptop newspaper pillow tennisracket",
        "box": "alarmclock book cd candle cellphone cloth creditcard dishsponge glassbottle keychain mug papertowel "
        "pen pencil remotecontrol statue tissuebox vase watch",
        "cabinet": "book bowl box cd candle cloth cup dishsponge glassbottle handtowel kettle ladle mug newspaper pan "
        "peppershaker plate plunger pot saltshaker soapbar soapbottle spraybottle tissuebox toiletpaper vase "
        "wateringcan winebottle",
        "cart": "candle cloth dishsponge handtowel mug papertowel plunger soapbar soapbottle spraybottle statue "
        "tissuebox toiletpaper vase",
        "coffeemachine": "mug",
        "coffeetable": _TABLE,
        "countertop": _TABLE,
        "desk": "alarmclock basketball book bowl box cd candle cellphone cloth creditcard cup glassbottle keychain "
        "laptop mug newspaper pen pencil plate remotecontrol soapbottle spraybottle statue tennisracket tissuebox "
        "toiletpaper vase watch wateringcan winebottle",
        "diningtable": _TABLE,
        "drawer": "book butterknife cd candle cellphone cloth creditcard dishsponge fork handtowel keychain knife "
        "ladle newspaper pen pencil peppershaker remotecontrol saltshaker soapbar soapbottle spatula spoon "
        "spraybottle tissuebox toiletpaper watch wateringcan",
        "dresser": "alarmclock basketball book bowl box cd candle cellphone cloth creditcard cup glassbottle keychain "
        "laptop mug newspaper pen pencil plate remotecontrol spraybottle statue tennisracket tissuebox toiletpaper "
        "vase watch wateringcan winebottle",
        "fridge": "apple bowl bread cup egg glassbottle lettuce mug pan plate pot potato tomato winebottle",
        "garbagecan": "apple bread cd cloth dishsponge egg handtowel lettuce newspaper papertowel pen pencil potato "
        "soapbar soapbottle spraybottle tissuebox toiletpaper tomato winebottle",
        "handtowelholder": "handtowel",
        "laundryhamper": "cloth",
        "microwave": "apple bowl bread cup egg glassbottle mug plate potato tomato",
        "ottoman": _SOFT,
        "safe": "cd cellphone creditcard keychain statue vase watch",
        "shelf": "alarmclock book bowl box cd candle cellphone cloth creditcard cup dishsponge glassbottle handtowel "
        "kettle keychain mug newspaper papertowel pen pencil peppershaker plate pot remotecontrol saltshaker soapbar "
        "soapbottle spraybottle statue tissuebox toiletpaper vase watch wateringcan winebottle",
        "sidetable": _TABLE,
        "sinkbasin": "apple bowl butterknife cloth cup dishsponge egg fork glassbottle handtowel kettle knife ladle "
        "lettuce mug pan plate pot potato soapbar spatula spoon tomato",
        "sofa": _SOFT,
        "stoveburner": "kettle pan pot",
        "toaster": "",  # only slices of bread, which are no objects of their own here
        "toilet": "candle cloth dishsponge handtowel newspaper papertowel soapbar soapbottle spraybottle tissuebox "
        "toiletpaper",
        "toiletpaperhanger": "toiletpaper",
        "towelholder": "towel",
        "tvstand": "tissuebox",
    }.items()
}


class Count(NamedTuple):
    """How many receptacles of a type a room has, and how readily it gets one more."""

    least: int
    most: int
    weight: float


RECEPTACLES: dict[RoomKind, dict[str, Count]] = {
    "kitchen": {
        "cabinet": Count(1, 12, 2),
        "coffeemachine": Count(0, 1, 1),
        "countertop": Count(1, 3, 1.5),
        "diningtable": Count(0, 2, 1),
        "drawer": Count(0, 9, 2),
        "fridge": Count(1, 1, 1),
        "garbagecan": Count(0, 1, 1),
        "microwave": Count(1, 1, 1),
        "shelf": Count(0, 3, 1),
        "sidetable": Count(0, 1, 0.5),
        "sinkbasin": Count(1, 1, 1),
        "stoveburner": Count(0, 4, 1.5),
        "toaster": Count(0, 1, 0.8),
    },
    "livingroom": {
        "armchair": Count(0, 3, 1),
        "box": Count(0, 1, 1),
        "cabinet": Count(0, 4, 0.5),
        "coffeetable": Count(0, 2, 1),
        "desk": Count(0, 1, 0.1),
        "diningtable": Count(0, 2, 0.5),
        "drawer": Count(3, 10, 1),
        "dresser": Count(0, 1, 0.3),
        "garbagecan": Count(0, 1, 1),
        "ottoman": Count(0, 1, 0.2),
        "safe": Count(0, 1, 0.1),
        "shelf": Count(0, 8, 0.7),
        "sidetable": Count(1, 4, 1),
        "sofa": Count(1, 2, 0.5),
        "tvstand": Count(0, 1, 0.5),
    },
    "bedroom": {
        "armchair": Count(0, 2, 0.3),
        "bed": Count(1, 2, 0.2),
        "box": Count(0, 1, 0.5),
        "cabinet": Count(0, 4, 0.3),
        "desk": Count(1, 2, 0.5),
        "drawer": Count(3, 12, 1.5),
        "dresser": Count(0, 1, 0.5),
        "garbagecan": Count(0, 1, 1),
        "laundryhamper": Count(0, 1, 0.3),
        "safe": Count(0, 1, 0.3),
        "shelf": Count(0, 8, 0.8),
        "sidetable": Count(0, 2, 1),
    },
    "bathroom": {
        "bathtubbasin": Count(0, 1, 0.7),
        "cabinet": Count(2, 6, 1),
        "cart": Count(0, 1, 0.1),
        "countertop": Count(0, 2, 1),
        "drawer": Count(1, 8, 1),
        "dresser": Count(0, 1, 0.1),
        "garbagecan": Count(0, 1, 1),
        "handtowelholder": Count(0, 2, 0.7),
        "shelf": Count(0, 4, 0.4),
        "sidetable": Count(0, 1, 0.1),
        "sinkbasin": Count(1, 2, 0.5),
        "toilet": Count(1, 1, 1),
        "toiletpaperhanger": Count(0, 1, 0.7),
        "towelholder": Count(0, 1, 0.5),
    },
}

_OBJECTS: dict[RoomKind, str] = {
    "kitchen": "apple bowl bread butterknife cup dishsponge egg fork glassbottle kettle knife ladle lettuce mug pan "
    "papertowel peppershaker plate pot potato saltshaker soapbottle spatula spoon tomato vase winebottle",
    "livingroom": "book candle cellphone creditcard keychain laptop newspaper pen pencil pillow plate "
    "remotecontrol statue tissuebox vase watch wateringcan",
    "bedroom": "alarmclock baseballbat basketball book bowl cd cellphone cloth creditcard keychain laptop mug pen "
    "pencil pillow tennisracket watch",
    "bathroom": "candle cloth dishsponge handtowel papertowel plunger soapbar soapbottle spraybottle tissuebox "
    "toiletpaper towel",
}
OBJECTS: dict[RoomKind, tuple[str, ...]] = {kind: tuple(objects.split()) for kind, objects in _OBJECTS.items()}

_COMMON_TABLES = "countertop diningtable"
_SITTING = "armchair bed coffeetable desk ottoman sidetable sofa"
_SMALL = "coffeetable desk drawer dresser safe shelf sidetable sofa armchair"
LIKELY: dict[str, frozenset[str]] = {
    thing: frozenset(receptacles.split())
    for thing, receptacles in {
        "alarmclock": "desk dresser shelf sidetable",
        "apple": f"{_COMMON_TABLES} fridge garbagecan sinkbasin sidetable",
        "baseballbat": "bed coffeetable sidetable",
        "basketball": "armchair bed desk dresser",
        "book": "bed coffeetable desk diningtable drawer dresser shelf sidetable sofa",
        "bowl": f"{_COMMON_TABLES} cabinet desk dresser fridge shelf sinkbasin",
        "bread": f"{_COMMON_TABLES} fridge microwave sidetable",
        "butterknife": f"{_COMMON_TABLES} drawer sinkbasin",
        "candle": "box cart coffeetable countertop drawer shelf sidetable toilet",
        "cd": "box desk drawer dresser garbagecan safe shelf sidetable",
        "cellphone": f"{_SMALL} bed",
        "cloth": "bathtubbasin box cabinet cart countertop drawer dresser laundryhamper shelf toilet",
        "creditcard": _SMALL,
        "cup": f"{_COMMON_TABLES} cabinet microwave shelf sinkbasin",
        "desklamp": "desk dresser sidetable",
        "dishsponge": "bathtubbasin cart countertop drawer sinkbasin",
        "egg": f"{_COMMON_TABLES} fridge garbagecan microwave sinkbasin",
        "floorlamp": "armchair coffeetable sidetable sofa",
        "fork": f"{_COMMON_TABLES} drawer sinkbasin",
        "glassbottle": f"{_COMMON_TABLES} cabinet fridge shelf",
        "handtowel": "cabinet countertop garbagecan handtowelholder sinkbasin",
        "kettle": f"{_COMMON_TABLES} cabinet stoveburner",
        "keychain": _SMALL,
        "knife": f"{_COMMON_TABLES} drawer sinkbasin",
        "ladle": f"{_COMMON_TABLES} cabinet drawer",
        "laptop": f"{_SITTING} diningtable",
        "lettuce": f"{_COMMON_TABLES} fridge garbagecan sinkbasin",
        "mug": f"{_COMMON_TABLES} cabinet coffeemachine desk dresser microwave shelf sidetable",
        "newspaper": f"{_SITTING} diningtable garbagecan",
        "pan": f"{_COMMON_TABLES} cabinet fridge stoveburner",
        "papertowel": f"{_COMMON_TABLES} garbagecan shelf toilet",
        "pen": "coffeetable desk drawer dresser garbagecan shelf sidetable",
        "pencil": "coffeetable desk drawer dresser garbagecan shelf sidetable",
        "peppershaker": f"{_COMMON_TABLES} cabinet drawer shelf",
        "pillow": "armchair bed ottoman sofa",
        "plate": f"{_COMMON_TABLES} cabinet coffeetable microwave shelf sidetable",
        "plunger": "cabinet cart",
        "pot": f"{_COMMON_TABLES} fridge sinkbasin stoveburner",
        "potato": f"{_COMMON_TABLES} fridge garbagecan microwave sinkbasin",
        "remotecontrol": "armchair coffeetable drawer ottoman sidetable sofa",
        "saltshaker": f"{_COMMON_TABLES} cabinet drawer shelf",
        "soapbar": "bathtubbasin cabinet countertop drawer garbagecan sinkbasin toilet",
        "soapbottle": f"{_COMMON_TABLES} cabinet cart garbagecan toilet",
        "spatula": f"{_COMMON_TABLES} drawer sinkbasin",
        "spoon": f"{_COMMON_TABLES} drawer sinkbasin",
        "spraybottle": "cabinet cart countertop garbagecan shelf toilet",
        "statue": "coffeetable diningtable dresser safe shelf sidetable",
        "tennisracket": "bed desk dresser",
        "tissuebox": "cabinet coffeetable countertop drawer shelf sidetable toilet tvstand",
        "toiletpaper": "cabinet cart drawer garbagecan toilet toiletpaperhanger",
        "tomato": f"{_COMMON_TABLES} fridge garbagecan microwave sinkbasin",
        "towel": "towelholder",
        "vase": "box cabinet coffeetable countertop diningtable safe shelf sidetable",
        "watch": "coffeetable drawer dresser safe shelf sidetable",
        "wateringcan": "cabinet coffeetable diningtable shelf sidetable",
        "winebottle": f"{_COMMON_TABLES} cabinet fridge garbagecan",
    }.items()
}
