"""Money in whole numbers: amounts in minor units, pool accounts in micros (10⁻⁶ minor unit).

No float, no rounding.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Micros in one minor unit.
MICROS = 1_000_000
# The largest amount on the wire: wagers, payouts, deposits.
MAX_AMOUNT_MINOR = 10**12
# The largest value of an account of a pool.
MAX_ACCOUNT_MICROS = 4 * 10**18

_CODE = re.compile(r"[A-Z]{3,8}\Z")
_DIGITS_BY_DEFAULT = 2

# ISO 4217: active codes of currencies, by the number of digits of their minor unit.
_ISO_4217: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS "
        "GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL "
        "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK "
        "PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
        "TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of a currency; both as on the wire."""

    currency_code: str
    amount_minor: int


class Currencies:
    """The currencies that a server takes: those of ISO 4217, and the in-house ones that are declared."""

    __slots__ = ("_digits",)

    def __init__(self, in_house: Mapping[str, int]) -> None:
        """`in_house`: code → digits of its minor unit. ValueError if a code is malformed or of ISO 4217."""
        digits = {code: count for count, codes in _ISO_4217.items() for code in codes.split()}
        for code, count in in_house.items():
            if not _CODE.match(code):
                raise ValueError(f"{code!r} is not a currency code: 3 to 8 capital letters")
            if code in digits:
                raise ValueError(f"{code} is a currency of ISO 4217 and cannot be declared")
            if not 0 <= count <= 6:
                raise ValueError(f"{code} has {count} digits: 0 to 6 are possible")
            digits[code] = count
        self._digits = digits

    def __contains__(self, currency_code: object) -> bool:
        return currency_code in self._digits

    def digits(self, currency_code: str) -> int:
        """Digits of the minor unit: 2 for EUR, 0 for JPY. KeyError if the currency is unknown."""
        return self._digits[currency_code]


# ISO 4217 and the demo's play money.
CURRENCIES = Currencies({"COIN": _DIGITS_BY_DEFAULT})


def share_micros(wager_minor: int, rate_ppm: int) -> int:
    """The share of a wager, exact: a millionth of a minor unit is one micro, nothing is rounded (PR-01)."""
    return wager_minor * rate_ppm


def whole_minor(micros: int) -> int:
    """The whole minor units in an account: what a win pays; the fraction stays (PR-03)."""
    return micros // MICROS


def format_minor(amount_minor: int, currency_code: str, currencies: Currencies = CURRENCIES) -> str:
    """For people: `1,234.50 COIN`. A currency that is not known is shown with two digits."""
    digits = currencies.digits(currency_code) if currency_code in currencies else _DIGITS_BY_DEFAULT
    return f"{_decimal(amount_minor, digits)} {currency_code}"


def format_micros(micros: int, currency_code: str, currencies: Currencies = CURRENCIES) -> str:
    """For people, exact: `1,234.500000 COIN` with all six digits below the minor unit."""
    digits = currencies.digits(currency_code) if currency_code in currencies else _DIGITS_BY_DEFAULT
    return f"{_decimal(micros, digits + 6)} {currency_code}"


def _decimal(value: int, digits: int) -> str:
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 10**digits)
    return f"{sign}{whole:,}.{fraction:0{digits}d}" if digits else f"{sign}{whole:,}"
