"""Words of the generated shop: what is sold, in which options, with which properties."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of product and everything a listing of it is drawn from."""

    category: str  # the shop's broad category, one of five
    query: str  # the search that finds this kind; products of one kind share it
    noun: str
    path: str  # "a › b › c"
    options: tuple[str, ...]  # names of option pools
    price: float  # median, dollars
    attributes: tuple[str, ...]
    extras: tuple[str, ...]  # side words for titles


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Pool: the option's name in the shop, its values. A value whose colour word would not match itself under the
    # reward's own rules (standard, titanium: they hold "tan") does not appear here, so every goal can be met.
    "color": (
        "color",
        _words(
            "black,white,navy,grey,beige,khaki,burgundy,teal,olive,charcoal,ivory,lavender,mint,coral,turquoise,"
            "brown,pink,purple,yellow,green,blue,orange,army green,sky blue,wine red,light blue,dark grey,rose gold,"
            "hot pink,royal blue,black | white,navy | gold,black (matte),a-black,b-navy,c-grey,floral 1,floral 2,"
            "leopard print,plaid,houndstooth,camo green,multicolor 3,champagne,espresso,walnut,silver",
            ",",
        ),
    ),
    "apparel": (
        "size",
        _words("x-small,small,medium,large,x-large,xx-large,3x-large,4x-large,5x-large", ","),
    ),
    "shoe": (
        "size",
        _words("5,5.5,6,6.5,7,7.5,8,8.5,9,9.5,10,10.5,11,12,13,8 wide,9 wide,10 wide,7 narrow,6 big kid", ","),
    ),
    "fit": ("fit type", ("men", "women", "youth", "slim fit", "relaxed fit", "regular")),
    "bed": ("size", ("twin", "twin xl", "full", "queen", "king", "california king")),
    "rug": ("size", ("2 ft x 3 ft", "3 ft x 5 ft", "4 ft x 6 ft", "5 ft x 8 ft", "8 ft x 10 ft", "9 ft x 12 ft")),
    "volume": ("size", ("1 fl oz", "2 fl oz", "4 fl oz", "8 ounce", "12 ounce", "16 ounce (pack of 1)", "1 gallon")),
    "pack": ("size", ("pack of 1", "pack of 2", "pack of 3", "pack of 4", "pack of 6", "pack of 12", "24 count")),
    "length": ("size", ("3 feet", "6 feet", "10 feet", "15 feet", "25 feet", "50 feet")),
    "screen": ("size", ("10 inch", "13.3 inch", "15.6 inch", "24 inch", "27 inch", "32 inch", "55 inch")),
    "storage": ("capacity", ("32gb", "64gb", "128gb", "256gb", "512gb", "1tb")),
    "flavor": (
        "flavor name",
        _words(
            "chocolate,vanilla,strawberry,sea salt,barbecue,honey,cinnamon,peanut butter,maple,original,lemon,mixed "
            "berry,jalapeno,cheddar,ginger,hazelnut,salted caramel,apple pie,dark roast,medium roast",
            ",",
        ),
    ),
    "scent": (
        "scent",
        _words("unscented,lavender,coconut,citrus,vanilla,eucalyptus,rose,ocean breeze,cedar,fresh linen", ","),
    ),
    "style": ("style", ("classic", "modern", "deluxe", "with remote", "2-pack", "basic", "pro", "travel kit")),
    "pattern": ("pattern name", ("solid", "striped", "paisley", "geometric", "polka dot", "gingham", "abstract")),
    "material": ("material type", ("cotton", "linen", "bamboo", "leather", "metal", "glass", "velvet", "fleece")),
}

_PATTERNS = {
    # Pool: "pattern with one blank: words"
    "wear": """{} wash: machine hand
{} sleeve: long short wide puff raglan cap
{} closure: button zipper hook lace drawstring snap
{} waist: elastic high drawstring tummy adjustable
{} spandex: nylon polyester cotton rayon
{} fit: regular slim relaxed loose classic tailored
{} neck: crew round scoop cowl mock boat
{}: moisture_wicking quick_drying tummy_control day_comfort imported_zipper polyester_cotton cotton_heather wash_cold
{}: fashion_design teen_girls daily_wear gym_workout everyday_wear soft_material comfortable_fit unique_design
{}: stretch_fabric breathable_fabric light_weight winter_warm faux_fur fleece_lined hidden_pocket star_wars
{} dry: tumble line flat
{} lining: satin mesh thermal quilted
{} party: cocktail christmas evening dinner beach
{} print: floral animal tie_dye camo letter graphic
{} pocket: side chest zip cargo back
{} hem: asymmetric high_low curved raw lettuce
{} shoulder: cold off one dropped
{}: wide_leg straight_leg tapered_ankle butt_lifting open_back cut_out wire_free padded_cups plus_size maternity_friendly
{}: uv_protection odor_control wrinkle_free tag_free four_way_stretch ribbed_cuffs contrast_stitching mid_rise low_rise""",
    "shoes": """{} sole: rubber ethylene_vinyl synthetic leather memory_foam anti_slip arch_support outdoor wedge
{} toe: open closed steel pointed square
{} upper: mesh suede knit patent canvas
{} heel: high low kitten block stiletto
{}: slip_resistant day_comfort water_resistant shock_absorbing non_slip lace_up ankle_strap memory_foam quick_drying
{}: light_weight everyday_wear running_shoes vinyl_acetate unique_design comfortable_fit winter_warm
{} insole: removable cushioned orthopedic gel
{} strap: buckle t cross elastic
{} boots: snow hiking rain riding
{}: wide_width steel_shank oil_resistant electrical_hazard padded_collar pull_tab reflective_details goodyear_welt""",
    "skin": """{} free: paraben cruelty sulfate fragrance alcohol oil phthalate silicone dye mineral_oil
{} skin: dry sensitive oily combination dead mature normal
{} oil: coconut argan tea_tree jojoba rosehip castor almond seed
{} acid: hyaluronic salicylic glycolic lactic
{}: anti_aging dark_circles fine_lines long_lasting dermatologist_tested natural_ingredients easy_apply high_quality
{}: double_sided travel_size eye_shadow stainless_steel easy_clean vitamin_c green_tea clinically_proven sun_protection
{} bottles: travel refillable spray leak_proof pump
{} brush: makeup foundation kabuki facial cleansing
{} butter: shea cocoa mango
{} finish: dewy matte_satin shimmer
{} water: rose micellar thermal
{} extract: aloe chamomile licorice ginseng snail
{}: hypoallergenic_formula non_comedogenic fast_absorbing highly_pigmented smudge_proof transfer_resistant full_coverage
{}: buildable_color gentle_exfoliation even_tone pore_minimizing deep_cleansing overnight_repair fresh_breath bad_breath
{}: teeth_whitening tongue_cleaning cold_sore stretch_marks nail_polish nail_art bath_bomb""",
    "hair": """{} hair: damaged curly dry fine frizzy natural thick colored human synthetic
{} free: sulfate paraben cruelty silicone gluten ammonia salt
{} growth: hair beard scalp lash
{} loss: hair moisture color
{} styling: hair heat wet
{} treatment: hair scalp keratin protein
{} cutting: hair beard precision
{}: long_lasting easy_use high_quality coconut_oil argan_oil tea_tree seed_oil salon_quality heat_protection
{}: rechargeable_battery cordless_use stainless_steel ceramic_coating tourmaline_plates quick_charge low_noise
{} wig: lace_front full_lace bob heat_safe
{} density: 130 150 180
{}: split_ends flaky_scalp dandruff_control color_safe volume_boost anti_breakage curl_defining edge_control deep_conditioner
{}: guide_combs self_sharpening washable_blades dual_voltage auto_shutoff baby_hair tangle_free cuticle_aligned""",
    "food": """{} free: gluten sugar fat dairy soy nut gmo grain lactose keto artificial_color egg caffeine trans_fat
{} sugar: low zero no_added brown cane
{} calorie: low zero reduced
{} carb: low net slow
{} sodium: low reduced zero
{} protein: high plant whey pea soy
{} ingredients: natural simple quality artificial real
{} flavors: natural artificial bold
{} gift: perfect great valentine_day birthday
{}: plant_based usda_organic non_gmo kosher_certified ready_eat hand_crafted ready_use individually_wrapped
{}: dietary_fiber omega_3 old_fashioned freeze_dried dry_roasted slow_cooked shelf_stable resealable_bag bpa_free
{} fruit: real dried tropical whole
{} certified: organic kosher halal fair_trade
{} snack: healthy protein office lunch_box
{} roast: medium light french italian
{} oil: olive avocado sunflower coconut
{} pack: variety single_serve family bulk
{}: gluten_tested small_batch stone_ground cold_brew loose_leaf whole_bean single_origin rich_aroma caffeine_boost
{}: wild_caught grass_fed cage_free free_range antibiotic_free nitrate_free sulfite_free msg_free kettle_cooked
{}: extra_crunchy extra_hot mildly_sweet tangy_taste movie_night baby_shower party_favor ancient_grains prebiotic_fiber""",
    "tech": """{} charging: fast wireless usb magnetic reverse
{} definition: high ultra
{} speed: high data gigabit transfer
{} port: usb hdmi ethernet type_c audio
{} plated: gold nickel chrome
{} batteries: aaa aa lithium rechargeable
{} installation: easy plug_play tool_free
{} resistant: water dust scratch shock fingerprint drop
{} sound: stereo surround clear bass
{} screen: touch glass lcd retina
{} bluetooth: hands_free low_latency dual
{} warranty: one_year limited lifetime
{}: heavy_duty high_resolution high_performance noise_cancelling long_lasting carrying_case easy_carry optical_zoom
{}: dual_band quad_core tempered_glass ultra_hd compact_size remote_control batteries_included output_protection
{}: motion_detection night_vision power_amplifier blu_ray 1080p_hd 4g_lte core_i5 intel_core aluminum_alloy
{}: non_slip case_cover easy_install light_weight ultra_light solid_state wall_mountable hands_free
{} display: amoled ips led anti_glare
{} mode: sleep game night airplane
{} zoom: 3x 10x digital
{} band: sport milanese nylon silicone_replacement
{}: two_way_audio cloud_storage face_recognition privacy_shutter memory_card backlit_keyboard fingerprint_reader
{}: foldable_design built_in_microphone voice_assistant app_control multi_device_pairing carrying_strap detachable_cable
{}: raised_edges military_grade magsafe_ready kickstand_included shielded_twice corrosion_proof long_range signal_booster""",
    "home": """{} room: living dining bed guest kids laundry game
{} frame: metal wood steel bed aluminum hardwood
{} assembly: easy tool_free quick minimal
{} clean: easy spot wipe vacuum
{} storage: hidden under_bed toy shoe kitchen extra
{} finish: coated brass matte bronze lacquered oak
{} foam: memory high_density cooling gel recycled
{} wood: solid engineered reclaimed acacia pine rubber
{} fabric: linen velvet microfiber performance
{} leather: faux pu genuine bonded
{}: mid_century white_item button_tufted space_saving heavy_duty contemporary_style fully_assembled assembly_required
{}: lumbar_support height_adjustable twin_size queen_size king_size machine_washable eco_friendly stainless_steel
{}: ready_hang long_lasting super_soft easy_install non_slip storage_space exquisite_workmanship tempered_glass
{}: energy_efficient pendant_light light_fixture glass_shade clear_glass led_light dimmable_light lead_free soy_wax
{} design: contemporary modern rustic vintage minimalist nordic
{} arms: rolled track flared padded
{} base: swivel five_star pedestal sled
{} legs: tapered hairpin turned adjustable_height
{} lining: thermal_insulated blackout sheer
{} pile: high_level low_level shaggy
{}: motion_isolation edge_support cooling_gel_layer fiberglass_free box_spring_free noise_free_slats under_bed_clearance
{}: pet_friendly fade_resistant water_repellent stain_proof latex_backing reversible_cover invisible_zipper rod_pocket
{}: touch_control usb_outlet color_temperature flicker_free hand_poured cotton_wick long_burning footrest_ring weight_capacity""",
}


def _expand(block: str) -> tuple[str, ...]:
    """Every filled-in pattern of a block, in order, without repeats."""
    found: dict[str, None] = {}
    for line in block.splitlines():
        pattern, _, words = line.rpartition(": ")
        for word in words.split():
            found[pattern.format(word.replace("_", " "))] = None
    return tuple(found)


ATTRIBUTES = {pool: _expand(block) for pool, block in _PATTERNS.items()}

_DEPARTMENTS = {
    "wear": ("fashion", "Clothing, Shoes & Jewelry"),
    "shoes": ("fashion", "Clothing, Shoes & Jewelry"),
    "skin": ("beauty", "Beauty & Personal Care"),
    "hair": ("beauty", "Beauty & Personal Care"),
    "food": ("grocery", "Grocery & Gourmet Food"),
    "tech": ("electronics", "Electronics"),
    "home": ("garden", "Home & Kitchen"),
}

_KINDS = """wear|women's dresses|dress|Women › Clothing › Dresses|color apparel|29|midi sundress boho ruffle
wear|women's blouses|blouse|Women › Clothing › Tops & Blouses|color apparel|23|tunic chiffon casual top
wear|women's jeans|jeans|Women › Clothing › Jeans|color apparel|35|denim skinny bootcut pants
wear|women's swimsuits|swimsuit|Women › Clothing › Swimwear|color apparel|27|bikini tankini ruched monokini
wear|women's sweaters|sweater|Women › Clothing › Sweaters|color apparel|31|cardigan pullover knit oversized
wear|women's lingerie|bralette|Women › Clothing › Lingerie|color apparel|18|bra lace lounge cami
wear|women's coats|coat|Women › Clothing › Coats & Jackets|color apparel|52|parka trench jacket hooded
wear|men's t-shirts|t-shirt|Men › Clothing › T-Shirts|color apparel fit|16|tee graphic athletic henley
wear|men's dress shirts|shirt|Men › Clothing › Shirts|color apparel|27|oxford flannel button-down polo
wear|men's hoodies|hoodie|Men › Clothing › Hoodies|color apparel|34|sweatshirt pullover fleece hooded
wear|men's shorts|shorts|Men › Clothing › Shorts|color apparel|22|cargo chino swim trunks
wear|men's suits|blazer|Men › Clothing › Suits|color apparel|74|tuxedo jacket suit vest
wear|men's underwear|boxer briefs|Men › Clothing › Underwear|color apparel|19|trunks undershirt boxer pouch
wear|pajama sets|pajama set|Women › Clothing › Sleepwear|color apparel|26|nightgown sleepwear robe loungewear
shoes|women's sandals|sandals|Women › Shoes › Sandals|color shoe|31|platform slides strappy wedges
shoes|women's boots|boots|Women › Shoes › Boots|color shoe|55|ankle booties combat chelsea
shoes|men's sneakers|sneakers|Men › Shoes › Fashion Sneakers|color shoe|58|trainers walking skate running
shoes|men's loafers|loafers|Men › Shoes › Loafers & Slip-Ons|color shoe|49|moccasins driving penny slip-on
shoes|slippers|slippers|Women › Shoes › Slippers|color shoe|21|house clogs fuzzy mules
skin|face moisturizer|face cream|Skin Care › Face › Creams|volume|22|moisturizer lotion serum collagen
skin|makeup palettes|eyeshadow palette|Makeup › Eyes › Eyeshadow|color|14|pigment shimmer matte glitter
skin|lipsticks|lipstick|Makeup › Lips › Lipstick|color|10|gloss balm tint velvet
skin|body wash|body wash|Skin Care › Body › Cleansers|scent volume|13|shower gel cleanser soap
skin|sunscreen|sunscreen|Skin Care › Sun › Sunscreens|volume|16|lotion stick mineral spf
skin|false eyelashes|eyelashes|Makeup › Eyes › Lashes|style pack|12|mink lash strip volume
skin|toothpaste|toothpaste|Oral Care › Toothpaste|volume pack|9|whitening mouthwash enamel dental
skin|perfumes|perfume|Fragrance › Women's › Eau de Parfum|scent volume|38|parfum cologne mist roll-on
hair|shampoo|shampoo|Hair Care › Shampoo|scent volume|17|conditioner scalp cleanser duo
hair|hair extensions|hair extensions|Hair Care › Extensions & Wigs › Extensions|color length|45|clip-in weft ponytail hairpiece
hair|wigs|wig|Hair Care › Extensions & Wigs › Wigs|color|39|bob lace front bangs
hair|hair clippers|hair clipper|Shave & Hair Removal › Clippers|style|36|trimmer shaver grooming barber
hair|hair oils|hair oil|Hair Care › Styling › Oils & Serums|scent volume|15|serum elixir treatment mask
food|snack bars|snack bars|Snack Foods › Bars|flavor pack|19|granola protein crunch oat
food|coffee|coffee|Beverages › Coffee|flavor pack|21|beans ground espresso pods
food|teas|herbal tea|Beverages › Tea|flavor pack|14|loose leaf matcha infusion
food|cookies|cookies|Snack Foods › Cookies|flavor pack|12|shortbread biscuits bakery wafers
food|popcorn|popcorn|Snack Foods › Popcorn|flavor pack|15|kettle kernels gourmet bag
food|dried fruit|dried fruit|Produce › Dried Fruits|flavor pack|18|mango raisins apricots dates
food|nut butters|almond butter|Pantry › Nut & Seed Butters|flavor volume|13|spread jar cashew creamy
food|hot sauces|hot sauce|Pantry › Condiments › Sauces|flavor volume|11|salsa pepper marinade condiment
food|jerky|beef jerky|Snack Foods › Jerky|flavor pack|24|turkey sticks smoked strips
food|candies|chocolate candy|Snack Foods › Candy|flavor pack|16|truffles gummies caramels gift box
tech|headphones|headphones|Headphones › Over-Ear|color|59|earbuds headset earphones wireless
tech|bluetooth speakers|bluetooth speaker|Portable Audio › Speakers|color|47|subwoofer soundbar boombox outdoor
tech|hdmi cables|hdmi cable|Accessories › Cables|length pack|13|cord adapter extender switch
tech|phone cases|phone case|Cell Phones › Cases|color style|14|cover bumper wallet holster
tech|tablets|tablet|Computers & Tablets › Tablets|color storage|149|android touchscreen keyboard display
tech|laptops|laptop|Computers & Tablets › Laptops|storage screen|640|notebook chromebook gaming ultrabook
tech|security cameras|security camera|Camera & Photo › Surveillance|style pack|63|wifi dome doorbell monitor
tech|tv antennas|tv antenna|Television › Antennas|length|29|amplifier indoor digital signal
tech|tripods|tripod|Camera & Photo › Tripods|color|33|selfie stick mount stand
tech|smart watch bands|watch band|Wearable Technology › Bands|color|13|strap bracelet loop buckle
home|sofas|sofa|Furniture › Living Room › Sofas|color|420|couch loveseat sectional futon
home|office chairs|office chair|Furniture › Office › Chairs|color|139|desk task swivel recliner
home|bed frames|bed frame|Furniture › Bedroom › Beds|color bed|210|platform headboard bunk daybed
home|mattresses|mattress|Furniture › Bedroom › Mattresses|bed|330|topper hybrid innerspring pad
home|table lamps|table lamp|Lighting › Lamps › Table Lamps|color style|44|bedside desk nightstand lantern
home|chandeliers|chandelier|Lighting › Ceiling Lights › Chandeliers|color|128|pendant fixture sconce crystal
home|area rugs|area rug|Home Décor › Rugs|color rug|76|carpet runner mat shag
home|curtains|curtains|Home Décor › Window Treatments|color pattern|28|drapes panels blackout valance
home|throw pillows|throw pillow|Bedding › Decorative Pillows|color pattern|17|cushion cover lumbar case
home|bookshelves|bookshelf|Furniture › Living Room › Bookcases|color|98|bookcase shelf cabinet organizer
home|scented candles|scented candle|Home Décor › Candles|scent pack|16|jar soy votive gift
home|kitchen stools|bar stools|Furniture › Kitchen › Bar Stools|color material|120|counter barstools swivel stool"""


def _kind(line: str) -> Kind:
    pool, query, noun, path, options, price, extras = line.split("|")
    category, department = _DEPARTMENTS[pool]
    return Kind(
        category,
        query,
        noun,
        f"{department} › {path}",
        tuple(options.split()),
        float(price),
        ATTRIBUTES[pool],
        tuple(extras.split()),
    )


KINDS = tuple(_kind(line) for line in _KINDS.splitlines())

ONSETS = _words("Al Bel Cor Dar El Fen Gal Hal Ist Jor Kel Lum Mar Nor Or Pel Quin Ros Sol Tar Ul Ven Wil Xan Yor Zel")
CODAS = _words("ado ana aro avi eka elle enta era esse ido iva ix o ola on ona ora osa ovo ua umi une ura uxe yn yst")

ADJECTIVES = _words(
    "Elegant Casual Classic Premium Modern Vintage Soft Cozy Portable Professional Lightweight Stylish Durable Cute "
    "Luxury Simple Natural Rustic Compact Deluxe Fresh Original Practical Everyday Gentle Bold"
)
AUDIENCES = ("Home", "Travel", "Work", "Gift", "Family", "Holiday", "Office", "Summer", "Winter", "Daily Use", "Party")
MATERIALS = _words("Cotton Linen Bamboo Leather Metal Glass Velvet Fleece Wool Silk Ceramic Oak Nylon Canvas")
