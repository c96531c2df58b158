"""What simulated experiments are about: ideas by type, each with a hypothesis and its treatments."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Idea:
    """One thing that can be tested.

    Attributes:
        experiment_type: checkout, pricing, onboarding, ...
        name: a short title.
        hypothesis: what is expected, and why.
        control: what users see today.
        treatments: (name, description) of up to three alternatives.
    """

    experiment_type: str
    name: str
    hypothesis: str
    control: str
    treatments: tuple[tuple[str, str], ...]


INDUSTRIES = ("fashion retail", "consumer electronics", "groceries", "travel", "home and garden", "online education")
AUDIENCES = ("all users", "new users", "returning users", "loyal customers", "bargain hunters", "mobile users")

IDEAS = (
    Idea(
        "checkout",
        "One-page checkout",
        "Fewer steps between cart and payment lose fewer buyers on the way.",
        "Checkout in four steps: address, delivery, payment, review",
        (
            ("Single page", "Address, delivery and payment on one page"),
            ("Two steps", "Address and delivery first, payment second"),
            ("Accordion", "One page whose sections unfold one after the other"),
        ),
    ),
    Idea(
        "checkout",
        "Guest checkout first",
        "Being made to create an account stops first-time buyers; ordering as a guest does not.",
        "Sign-in form before checkout, guest checkout as a small link",
        (
            ("Guest by default", "Checkout starts as a guest; an account is offered after the order"),
            ("Equal choice", "Guest and sign-in buttons of the same size"),
        ),
    ),
    Idea(
        "checkout",
        "Wallet buttons above the form",
        "Paying with a stored wallet avoids typing card numbers, above all on phones.",
        "Card form first, wallets below it",
        (
            ("Wallets on top", "Wallet buttons above the card form"),
            ("Wallets in the cart", "Pay straight from the cart"),
        ),
    ),
    Idea(
        "checkout",
        "Delivery date promise",
        "A date is more convincing than a number of business days, so fewer carts are abandoned.",
        "Delivery in 3 to 5 business days",
        (
            ("Arrival date", "Arrives on Thursday, 12 March"),
            ("Countdown", "Order within 2 h 14 min for delivery tomorrow"),
        ),
    ),
    Idea(
        "checkout",
        "Trust badges beside the pay button",
        "Signs of security next to the card field calm doubts at the last step.",
        "Pay button alone",
        (("Badges", "Encryption and buyer protection badges under the pay button"),),
    ),
    Idea(
        "pricing",
        "Free shipping threshold",
        "A threshold a little above the usual basket makes people add one more article.",
        "Shipping costs 4.90 on every order",
        (
            ("Free over 40", "Free shipping from a basket of 40"),
            ("Free over 60", "Free shipping from a basket of 60"),
            ("Progress bar", "Free over 50 with a bar that shows what is missing"),
        ),
    ),
    Idea(
        "pricing",
        "Annual plan shown first",
        "People anchor on the first price; with the yearly price first more of them commit for a year.",
        "Monthly price selected by default",
        (("Annual default", "Annual price selected, saving shown"), ("Annual only on top", "Monthly behind a link")),
    ),
    Idea(
        "pricing",
        "Bundle discount",
        "A set at a lower price than its parts raises the value of an order.",
        "Articles sold one by one",
        (
            ("Buy two, save 10 %", "Discount applied when a second article of the set is added"),
            ("Complete the look", "A prepared set with one button and one price"),
        ),
    ),
    Idea(
        "pricing",
        "Charm prices against round prices",
        "Prices that end in .99 look like bargains; round ones look like quality.",
        "Prices end in .99",
        (("Round prices", "All prices rounded to whole numbers"),),
    ),
    Idea(
        "pricing",
        "Strike-through of the earlier price",
        "The earlier price beside the current one shows the saving without arithmetic.",
        "Current price alone",
        (("Struck price", "Earlier price struck through"), ("Percent off", "A red label with the percentage saved")),
    ),
    Idea(
        "onboarding",
        "Skip the welcome tour",
        "A tour stands between newcomers and the first useful action; without it more of them get there.",
        "Welcome tour of five screens",
        (
            ("No tour", "Straight to the home screen"),
            ("Tips on demand", "Hints appear when a function is first used"),
            ("Two screens", "Only the two screens that people finish"),
        ),
    ),
    Idea(
        "onboarding",
        "Ask for goals at sign-up",
        "When the first session is built around a stated goal, newcomers see value sooner.",
        "Sign-up form with e-mail and password",
        (("Goal picker", "Three questions about goals, then a tailored start page"),),
    ),
    Idea(
        "onboarding",
        "Checklist of first steps",
        "A visible list with progress pulls people through set-up.",
        "No checklist",
        (
            ("Checklist", "Five first steps with ticks in the side bar"),
            ("Rewarded checklist", "The same list with a voucher at its end"),
        ),
    ),
    Idea(
        "onboarding",
        "Social sign-in",
        "One tap with an existing account is easier than inventing another password.",
        "E-mail and password",
        (
            ("Social buttons", "Sign-in with existing accounts above the form"),
            ("Magic link", "A link by e-mail, no password"),
        ),
    ),
    Idea(
        "search",
        "Search suggestions with pictures",
        "Pictures in the suggestion list lead to the right article without a result page.",
        "Suggestions as text",
        (("Picture suggestions", "Small pictures and prices in suggestions"),),
    ),
    Idea(
        "search",
        "Typo-tolerant search",
        "Misspelled queries end on an empty page today; correcting them finds what was meant.",
        "Exact matching of words",
        (
            ("Automatic correction", "Results of the corrected query with a note"),
            ("Did you mean", "A suggestion above the results"),
        ),
    ),
    Idea(
        "search",
        "Semantic ranking",
        "Ranking by meaning instead of shared words brings useful results for long queries to the top.",
        "Keyword ranking",
        (
            ("Semantic", "Results ordered by similarity of meaning"),
            ("Hybrid", "Keyword and semantic scores combined"),
            ("Hybrid, personal", "Combined scores weighted by past purchases"),
        ),
    ),
    Idea(
        "search",
        "Filters that stay in view",
        "Filters that do not scroll away are used more and shorten the way to an article.",
        "Filters at the top of the list",
        (("Sticky filters", "A filter bar that stays at the top"), ("Side panel", "Filters in a panel on the left")),
    ),
    Idea(
        "recommendation",
        "Similar articles on product pages",
        "Who does not want this article may want one like it instead of leaving.",
        "Best sellers below the article",
        (
            ("Similar by picture", "Articles that look alike"),
            ("Similar by purchase", "What others bought after viewing this"),
        ),
    ),
    Idea(
        "recommendation",
        "Personal home page",
        "A start page built from past visits saves returning visitors the search.",
        "The same home page for everybody",
        (
            ("Recently viewed", "Recently viewed articles on top"),
            ("Personal ranking", "All sections ordered by predicted interest"),
            ("Both", "Recently viewed, then personal ranking"),
        ),
    ),
    Idea(
        "recommendation",
        "Add-ons in the cart",
        "Small things that fit what is in the cart are added without much thought.",
        "Cart without recommendations",
        (("Add-ons", "Three fitting accessories under the cart"),),
    ),
    Idea(
        "recommendation",
        "Reasons beside recommendations",
        "Saying why something is recommended makes it more believable.",
        "Recommended for you",
        (("With reasons", "Because you looked at running shoes"),),
    ),
    Idea(
        "navigation",
        "Flat menu",
        "Two levels instead of four bring people to a category with fewer wrong turns.",
        "Menu with four levels",
        (("Two levels", "All categories on two levels"), ("Mega menu", "One panel with everything")),
    ),
    Idea(
        "navigation",
        "Sticky cart icon",
        "A cart that is always in sight reminds people of what they meant to buy.",
        "Cart icon scrolls away",
        (("Sticky", "Cart icon stays in the corner"), ("Sticky with total", "Icon with the sum of the cart")),
    ),
    Idea(
        "navigation",
        "Endless list",
        "Loading more while scrolling keeps people browsing; page numbers invite them to stop.",
        "24 articles a page",
        (("Endless scrolling", "More articles load at the end"), ("Load more", "A button loads 24 more")),
    ),
    Idea(
        "copy",
        "Action words on buttons",
        "A button that says what happens next is pressed with more confidence.",
        "Continue",
        (
            ("Specific", "Go to secure payment"),
            ("First person", "Reserve my articles"),
            ("Short", "Pay now"),
        ),
    ),
    Idea(
        "copy",
        "Benefit headline",
        "A headline about what people gain holds more of them than one about the product.",
        "Headline that names the product",
        (("Benefit", "Headline that names the gain"), ("Question", "Headline that asks about the problem")),
    ),
    Idea(
        "copy",
        "Scarcity message",
        "Knowing that few are left makes people decide today.",
        "In stock",
        (("Few left", "Only 3 left in stock"), ("Demand", "12 people look at this right now")),
    ),
    Idea(
        "copy",
        "Customer reviews above the fold",
        "Other buyers are more believable than the shop.",
        "Reviews at the end of the page",
        (("Stars on top", "Rating and number of reviews under the title"), ("Quote", "One review beside the price")),
    ),
    Idea(
        "email",
        "Abandoned cart reminder",
        "A reminder while the memory is fresh brings people back to their carts.",
        "Reminder after 24 hours",
        (
            ("After one hour", "Reminder one hour after leaving"),
            ("Two reminders", "After one hour and after one day"),
            ("With voucher", "After one day, with a 5 % voucher"),
        ),
    ),
    Idea(
        "email",
        "Personal subject lines",
        "A subject that mentions what somebody looked at is opened more often.",
        "The same subject for everybody",
        (
            ("Article in subject", "The last article viewed in the subject"),
            ("Name in subject", "First name in the subject"),
        ),
    ),
    Idea(
        "email",
        "Weekly digest instead of daily mail",
        "Fewer, better mails are read more and unsubscribed from less.",
        "A mail every day",
        (("Weekly digest", "One mail on Thursday with the best of the week"),),
    ),
    Idea(
        "mobile",
        "Bottom navigation bar",
        "Thumbs reach the bottom of a phone's screen, not its top.",
        "Menu behind an icon at the top",
        (("Bottom bar", "Five destinations at the bottom"), ("Bottom bar with search", "Search as the middle button")),
    ),
    Idea(
        "mobile",
        "Swipeable product pictures",
        "Swiping through large pictures answers questions that text does not.",
        "One picture with small thumbnails",
        (("Swipe", "Full-width pictures to swipe"), ("Video first", "A short film before the pictures")),
    ),
    Idea(
        "mobile",
        "Push permission later",
        "Asked after the first success, more people allow notifications than at the first start.",
        "Permission dialogue at first start",
        (
            ("After first order", "Asked after the first order"),
            ("Soft question", "Our own question before the system's"),
        ),
    ),
    Idea(
        "mobile",
        "Lighter pages on slow networks",
        "On slow connections a page without large pictures is usable seconds sooner.",
        "The same page on every network",
        (("Light pages", "Small pictures below 1 Mbit/s"), ("Placeholders", "Grey boxes until pictures arrive")),
    ),
    Idea(
        "retention",
        "Loyalty points in view",
        "Points that are seen are collected; collecting brings people back.",
        "Points on the account page",
        (("Points in header", "Balance in the header"), ("Points per article", "Points to be earned beside the price")),
    ),
    Idea(
        "retention",
        "Pause instead of cancel",
        "Some who cancel only want a break; offering one keeps them.",
        "Cancel button",
        (("Pause offered", "Pause for one to three months"), ("Smaller plan", "A cheaper plan before cancelling")),
    ),
    Idea(
        "retention",
        "Refill reminders",
        "Consumables run out on a schedule; a reminder in time wins the next order.",
        "No reminder",
        (("Reminder", "A reminder three days before running out"), ("Subscription", "Refill by subscription, 5 % off")),
    ),
    Idea(
        "landing page",
        "Landing page per campaign",
        "A page that repeats the promise of the advertisement keeps more of those who clicked it.",
        "All campaigns lead to the home page",
        (
            ("Matching page", "Headline and picture of the advertisement"),
            ("Matching offer", "The advertised article on top"),
        ),
    ),
)
