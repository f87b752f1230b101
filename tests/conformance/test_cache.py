"""What every cache does, on every backend."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anyio
import pytest
from msgspec import Struct

from tests.conformance.backends import Backend
from tradekeel.errors import InputError, StoreRefused
from tradekeel.ports import Cache
from tradekeel.ports import cache as limits

SOON_S = 0.05
LATER_S = 300.0


async def all_keys(cache: Cache, pattern: str | bytes = "*") -> list[bytes]:
    return sorted([key async for key in cache.scan(pattern)])


# --- one value --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a", "text"),
        ("a", b"bytes"),
        ("a", ""),
        ("a", b"\x00"),
        ("a", bytes(range(256))),
        ("a b\n\r\t", "spaces\r\n"),
        ("schlüssel/キー/🔑", "wert/値/💰"),
        (b"\xff\x00\xfe", b"\x80"),
        ("a:b:c", "colons"),
        ("*?[a-z]\\", "glob"),
        ("k" * limits.KEY_BYTES_MAX, "long"),
    ],
)
async def test_what_is_put_is_read_back_byte_for_byte(cache: Cache, key, value):
    await cache.set(key, value)
    assert await cache.get(key) == (value.encode() if isinstance(value, str) else value)
    assert await cache.exists(key)
    assert await all_keys(cache) == [key.encode() if isinstance(key, str) else key]


async def test_text_and_its_utf8_are_one_key(cache: Cache):
    await cache.set("ü", "1")
    assert await cache.get("ü".encode()) == b"1"


async def test_a_value_of_the_largest_size_is_kept(cache: Cache):
    value = random.Random(1).randbytes(limits.VALUE_BYTES_MAX)
    await cache.set("large", value)
    assert await cache.get("large") == value


async def test_what_is_not_there_is_none_and_no_error(cache: Cache):
    assert await cache.get("gone") is None
    assert not await cache.exists("gone")
    assert not await cache.delete("gone")
    assert await cache.ttl("gone") is None
    assert not await cache.expire("gone", 1)
    assert not await cache.persist("gone")
    assert await cache.get_json("gone") is None


async def test_a_later_value_replaces_an_earlier_one(cache: Cache):
    await cache.set("a", "1")
    await cache.set("a", "2")
    assert await cache.get("a") == b"2"


async def test_a_deleted_value_is_gone_and_is_deleted_once(cache: Cache):
    await cache.set("a", "1")
    assert await cache.delete("a")
    assert await cache.get("a") is None
    assert not await cache.delete("a")


async def test_set_if_absent_puts_once(cache: Cache):
    assert await cache.set_if_absent("a", "1")
    assert not await cache.set_if_absent("a", "2", ttl_s=LATER_S)
    assert await cache.get("a") == b"1"
    assert await cache.ttl("a") == math.inf


async def test_of_many_who_set_if_absent_at_once_one_has_it(cache: Cache):
    winners: list[str] = []

    async def try_it(name: str) -> None:
        if await cache.set_if_absent("lock", name, ttl_s=LATER_S):
            winners.append(name)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(try_it, str(number))
    assert [name.encode() for name in winners] == [await cache.get("lock")]


# --- time to live -----------------------------------------------------------------------------------------------------


async def test_a_value_is_gone_when_its_time_is_over(cache: Cache, backend: Backend):
    async def gone() -> bool:
        return await cache.get("a") is None

    await cache.set("a", "1", ttl_s=SOON_S)
    await cache.set("b", "2")
    passed_s = await backend.until(gone)
    assert not backend.clock_is_manual or passed_s == pytest.approx(SOON_S)
    assert not await cache.exists("a")
    assert await cache.ttl("a") is None
    assert not await cache.delete("a")
    assert not await cache.expire("a", LATER_S)
    assert not await cache.persist("a")
    assert await cache.get_many(["a", "b"]) == [None, b"2"]
    assert await all_keys(cache) == [b"b"]
    assert await cache.set_if_absent("a", "new")


async def test_the_time_that_is_left_is_told_in_seconds(cache: Cache, backend: Backend):
    await cache.set("a", "1", ttl_s=LATER_S)
    await cache.set("b", "1")
    left_s = await cache.ttl("a")
    assert left_s is not None
    assert LATER_S - 10 < left_s <= LATER_S
    assert await cache.ttl("b") == math.inf

    async def is_less() -> bool:
        now_left_s = await cache.ttl("a")
        return now_left_s is not None and now_left_s < left_s

    await backend.until(is_less)


async def test_a_new_value_lives_for_ever_unless_it_is_told_otherwise(cache: Cache):
    await cache.set("a", "1", ttl_s=LATER_S)
    await cache.set("a", "2")
    assert await cache.ttl("a") == math.inf
    await cache.set("a", "3", ttl_s=LATER_S)
    await cache.set_many({"a": "4", "b": "5"})
    assert await cache.ttl("a") == math.inf


async def test_expire_sets_another_time_shorter_or_longer(cache: Cache):
    await cache.set("a", "1")
    for ttl_s in (LATER_S, 2 * LATER_S, LATER_S / 2):
        assert await cache.expire("a", ttl_s)
        left_s = await cache.ttl("a")
        assert left_s is not None
        assert ttl_s - 10 < left_s <= ttl_s
    assert await cache.get("a") == b"1"


async def test_a_value_that_is_refreshed_lives_on(cache: Cache, backend: Backend):
    async def nearly_over() -> bool:
        return (await cache.ttl("a") or 0) < 0.2

    await cache.set("a", "1", ttl_s=0.25)
    await backend.until(nearly_over)
    assert await cache.expire("a", LATER_S)
    await backend.pass_s(0.25)
    assert await cache.get("a") == b"1"


async def test_persist_takes_the_time_away_once(cache: Cache, backend: Backend):
    await cache.set("a", "1", ttl_s=0.2)
    assert await cache.persist("a")
    assert not await cache.persist("a")
    assert await cache.ttl("a") == math.inf
    await backend.pass_s(0.25)
    assert await cache.get("a") == b"1"


async def test_a_part_of_a_millisecond_counts_as_a_whole_one(cache: Cache, backend: Backend):
    async def gone() -> bool:
        return await cache.get("a") is None

    await cache.set("a", "1", ttl_s=1e-9)
    await backend.until(gone, step_s=0.0005)
    await cache.set("b", "1", ttl_s=0.1)
    assert (await cache.ttl("b") or 1) <= 0.1


async def test_a_longest_time_to_live_is_kept(cache: Cache):
    await cache.set("a", "1", ttl_s=limits.TTL_S_MAX)
    assert (await cache.ttl("a") or 0) > limits.TTL_S_MAX - 10


# --- many -------------------------------------------------------------------------------------------------------------


async def test_many_are_read_in_the_order_of_the_keys(cache: Cache):
    await cache.set_many({"a": "1", b"b": b"2", "ü": ""})
    assert await cache.get_many(["ü", "gone", "a", b"b", "a"]) == [b"", None, b"1", b"2", b"1"]


async def test_many_may_be_none(cache: Cache):
    await cache.set_many({})
    assert await cache.get_many([]) == []
    assert await cache.delete_many([]) == 0


@pytest.mark.parametrize("number", [1, 2, 3_000])
async def test_many_are_put_with_one_time_to_live(cache: Cache, number):
    await cache.set_many({f"k{n}": f"v{n}" for n in range(number)}, ttl_s=LATER_S)
    keys = [f"k{n}" for n in range(number)]
    assert await cache.get_many(keys) == [f"v{n}".encode() for n in range(number)]
    for key in (keys[0], keys[-1]):
        left_s = await cache.ttl(key)
        assert left_s is not None
        assert LATER_S - 10 < left_s <= LATER_S


async def test_many_are_deleted_and_counted(cache: Cache):
    await cache.set_many({"a": "1", "b": "2", "c": "3"})
    assert await cache.delete_many(["a", "gone", "c", "a"]) == 2
    assert await cache.get_many(["a", "b", "c"]) == [None, b"2", None]


async def test_many_at_once_are_seen_all_or_none(cache: Cache):
    seen: set[tuple[bytes | None, ...]] = set()
    keys = [f"k{number}" for number in range(100)]

    async def write() -> None:
        for round_ in range(30):
            await cache.set_many(dict.fromkeys(keys, str(round_)), ttl_s=LATER_S if round_ % 2 else None)

    async def read() -> None:
        for _ in range(100):
            seen.add(tuple(set(await cache.get_many(keys))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        tasks.start_soon(read)
        tasks.start_soon(read)
    assert {len(values) for values in seen} == {1}


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*", ["", "a", "ab", "abc", "b", "bbc", "a*c", "é"]),
        ("a", ["a"]),
        ("a*", ["a", "ab", "abc", "a*c"]),
        ("*c", ["abc", "bbc", "a*c"]),
        ("?", ["a", "b"]),
        ("??", ["ab", "é"]),  # bytes are counted, not characters
        ("a?c", ["abc", "a*c"]),
        (r"a\*c", ["a*c"]),
        ("[ab]", ["a", "b"]),
        ("[a-b]bc", ["abc", "bbc"]),
        ("[b-a]bc", ["abc", "bbc"]),
        ("[^a]bc", ["bbc"]),
        ("[^a]*", ["b", "bbc", "é"]),
        ("**b**", ["ab", "abc", "b", "bbc"]),
        ("é", ["é"]),
        (b"\xc3?", ["é"]),
        ("nothing", []),
        ("", []),
    ],
)
async def test_keys_are_found_by_pattern(cache: Cache, pattern, matching):
    await cache.set_many(dict.fromkeys(["a", "ab", "abc", "b", "bbc", "a*c", "é"], "x"))
    assert await all_keys(cache, pattern) == sorted(key.encode() for key in matching if key)
    assert sorted((await cache.keys(pattern)).keys) == sorted(key.encode() for key in matching if key)


async def test_ten_thousand_keys_come_in_pages_that_are_bounded(cache: Cache):
    wanted = {f"tick:{number}".encode() for number in range(10_000)}
    await cache.set_many(dict.fromkeys(sorted(wanted), b"x"))
    await cache.set_many({f"bar:{number}": "x" for number in range(500)})
    found: list[bytes] = []
    cursor, pages = "", 0
    while True:
        page = await cache.keys("tick:*", limit=200, cursor=cursor)
        found += page.keys
        pages += 1
        assert len(page.keys) <= 2 * 200, "about as many as were asked for"
        assert pages <= 10_500 / 200 * 3
        if not page.cursor:
            break
        cursor = page.cursor
    assert set(found) == wanted
    assert set(await all_keys(cache, "tick:*")) == wanted
    assert await cache.delete_matching("tick:*") == len(wanted)
    assert len(await all_keys(cache)) == 500
    assert await cache.clear() == 500
    assert await all_keys(cache) == []


async def test_keys_that_stay_are_told_while_others_come_and_go(cache: Cache, seed):
    chance = random.Random(seed)
    stay = {f"stay:{number}".encode() for number in range(500)}
    await cache.set_many(dict.fromkeys(sorted(stay), b"x"))
    await cache.set_many({f"go:{number}": b"x" for number in range(500)})
    found: set[bytes] = set()
    cursor = ""
    while True:
        page = await cache.keys(limit=50, cursor=cursor)
        found.update(page.keys)
        if not page.cursor:
            break
        cursor = page.cursor
        await cache.delete_many([f"go:{chance.randrange(500)}" for _ in range(20)])
        await cache.set_many({f"come:{chance.randrange(500)}": b"x" for _ in range(20)})
    assert stay <= found


async def test_what_matches_is_deleted_and_nothing_else(cache: Cache):
    await cache.set_many(dict.fromkeys(["a:1", "a:2", "b:1", "a"], "x"))
    assert await cache.delete_matching("a:*") == 2
    assert await all_keys(cache) == [b"a", b"b:1"]
    assert await cache.delete_matching("a:*") == 0


# --- namespaces -------------------------------------------------------------------------------------------------------

ODD_NAMES = ["a", "a*", "*", "?", "a?", "[a]", "[^a]", "a\\", "\\*", "ab", "a-b", "ü", "a b"]


async def test_namespaces_do_not_see_each_other(backend: Backend):
    caches = {name: backend.cache(name) for name in ODD_NAMES}
    for name, cache in caches.items():
        await cache.set_many({"key": name, f"only {name}": "x"})
    for name, cache in caches.items():
        assert await cache.get("key") == name.encode()
        assert await all_keys(cache) == sorted([b"key", f"only {name}".encode()])


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("pattern", ["*", "[^x]*", "\\*", "?*", "*key"])
async def test_nothing_is_deleted_outside_the_namespace_whatever_its_name_and_pattern(backend: Backend, name, pattern):
    caches = {other: backend.cache(other) for other in ODD_NAMES}
    for cache in caches.values():
        await cache.set_many({"key": "1", "xkey": "2", "*": "3"})
    await caches[name].delete_matching(pattern)
    await caches[name].clear()
    assert await all_keys(caches[name]) == []
    for other in set(ODD_NAMES) - {name}:
        assert await all_keys(caches[other]) == [b"*", b"key", b"xkey"]


async def test_a_key_of_one_namespace_cannot_be_spelt_in_another(backend: Backend):
    await backend.cache("a").set("b:c", "1")
    for namespace, key in (("b", "c"), ("a", "c"), ("b", "a:b:c"), ("a", "a:b:c")):
        assert await backend.cache(namespace).get(key) is None


@pytest.mark.parametrize("name", ["", "a:b", ":", "n" * 201, "\ud800"])
async def test_a_name_that_would_let_one_see_into_another_is_refused(backend: Backend, name):
    with pytest.raises(InputError, match="namespace"):
        backend.cache(name)


# --- JSON -------------------------------------------------------------------------------------------------------------


class Quote(Struct):
    bid: Decimal
    ask: Decimal
    note: str | None = None


LONG = Decimal("0.1234567890123456789012345678901234567890123456789")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63,
        2**100,
        "text ü 💰",
        "NaN",
        [],
        {},
        [1, [2, {"a": None}]],
        {"price": LONG, "tiny": Decimal("1E-400"), "huge": Decimal("9E+400"), "zero": Decimal("-0.00")},
        [Decimal("1.10"), Decimal("123456789012345678901234567890.5")],
    ],
    ids=repr,
)
async def test_json_comes_back_as_it_was(cache: Cache, value):
    await cache.set_json("a", value)
    assert await cache.get_json("a") == value


@pytest.mark.parametrize("text", ["1.10", str(LONG), "-0.00", "0.1", "1E-30"])
async def test_a_decimal_keeps_every_digit_and_is_never_a_float(cache: Cache, text):
    await cache.set_json("a", {"price": Decimal(text), "deep": [Decimal(text)]})
    read = await cache.get_json("a")
    for number in (read["price"], read["deep"][0]):
        assert type(number) is Decimal
        assert str(number) == str(Decimal(text))


async def test_json_is_read_as_a_kind_when_one_is_asked_for(cache: Cache):
    quote = Quote(Decimal("1.10"), LONG, "ü")
    await cache.set_json("a", quote, ttl_s=LATER_S)
    assert await cache.get_json("a", Quote) == quote
    assert await cache.ttl("a") != math.inf
    await cache.set_json("b", {"x": Decimal("0.1"), "y": 2})
    assert await cache.get_json("b", dict[str, Decimal]) == {"x": Decimal("0.1"), "y": Decimal(2)}
    assert await cache.get_json("b", dict[str, float]) == {"x": 0.1, "y": 2.0}
    assert await cache.get_json("b", dict[str, Any]) == {"x": Decimal("0.1"), "y": 2}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"nan", b"[1,]", b"[" * 100_000])
async def test_what_is_no_json_is_refused_and_stays(cache: Cache, raw):
    await cache.set("a", raw)
    with pytest.raises(StoreRefused, match="'a' in namespace 'tests' is not the JSON"):
        await cache.get_json("a")
    assert await cache.get("a") == raw


async def test_json_of_another_kind_is_refused(cache: Cache):
    await cache.set_json("a", {"bid": "1.1"})
    with pytest.raises(StoreRefused, match="ask"):
        await cache.get_json("a", Quote)


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), [Decimal("Infinity")], object(), "\ud800", {"a": Decimal("-sNaN")}], ids=repr
)
async def test_what_json_cannot_hold_is_refused_and_nothing_is_put(cache: Cache, value):
    with pytest.raises(InputError, match="cannot be put as JSON"):
        await cache.set_json("a", value)
    assert not await cache.exists("a")


# --- numbers ----------------------------------------------------------------------------------------------------------


async def test_numbers_are_counted_from_zero_up_and_down(cache: Cache):
    assert await cache.increment("n") == 1
    assert await cache.increment("n", 41) == 42
    assert await cache.decrement("n") == 41
    assert await cache.decrement("n", 50) == -9
    assert await cache.increment("n", -1) == -10
    assert await cache.increment("n", 0) == -10
    assert await cache.decrement("m", 3) == -3
    assert await cache.get("n") == b"-10"


async def test_no_count_is_lost_among_many(backend: Backend):
    answers: list[int] = []

    async def count() -> None:
        cache = backend.cache()
        answers.extend([await cache.increment("n") for _ in range(20)])

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(count)
    assert sorted(answers) == list(range(1, 601))


async def test_counting_keeps_the_time_to_live(cache: Cache):
    await cache.set("n", "5", ttl_s=LATER_S)
    assert await cache.increment("n") == 6
    left_s = await cache.ttl("n")
    assert left_s is not None
    assert left_s <= LATER_S


@pytest.mark.parametrize(
    "raw", ["", "a", "1.5", " 1", "1 ", "+1", "01", "-0", "--1", "1e3", "0x1", "9223372036854775808", b"\xff", "9" * 40]
)
async def test_what_is_no_whole_number_is_not_counted(cache: Cache, raw):
    await cache.set("n", raw)
    with pytest.raises(StoreRefused):
        await cache.increment("n")
    assert await cache.get("n") == (raw.encode() if isinstance(raw, str) else raw)


@pytest.mark.parametrize(
    ("start", "by"), [(limits.NUMBER_MAX, 1), (-limits.NUMBER_MAX - 1, -1), (1, limits.NUMBER_MAX)]
)
async def test_a_number_never_leaves_64_bits(cache: Cache, start, by):
    await cache.set("n", str(start))
    with pytest.raises(StoreRefused):
        await cache.increment("n", by)
    assert await cache.get("n") == str(start).encode()
    assert await cache.decrement("n", by) == start - by if abs(start - by) <= limits.NUMBER_MAX else True


# --- what no cache takes ----------------------------------------------------------------------------------------------

LONG_KEY = "k" * (limits.KEY_BYTES_MAX + 1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda cache: cache.get(""), "empty"),
        (lambda cache: cache.get(LONG_KEY), "1025 bytes"),
        (lambda cache: cache.get("\ud800"), "half a character"),
        (lambda cache: cache.get(1), "not int"),
        (lambda cache: cache.set("a", None), "not NoneType"),
        (lambda cache: cache.set("a", b"x" * (limits.VALUE_BYTES_MAX + 1)), "bytes"),
        (lambda cache: cache.set("a", "x", ttl_s=0), "time to live"),
        (lambda cache: cache.set("a", "x", ttl_s=-1), "time to live"),
        (lambda cache: cache.set("a", "x", ttl_s=math.inf), "time to live"),
        (lambda cache: cache.set("a", "x", ttl_s=math.nan), "time to live"),
        (lambda cache: cache.expire("a", 0), "time to live"),
        (lambda cache: cache.expire("a", limits.TTL_S_MAX * 2), "time to live"),
        (lambda cache: cache.get_many("abc"), "give a list"),
        (lambda cache: cache.get_many(["a"] * (limits.MANY_MAX + 1)), "10001 keys"),
        (lambda cache: cache.get_many(["a", ""]), "empty"),
        (lambda cache: cache.delete_many(["a", ""]), "empty"),
        (lambda cache: cache.set_many({"a": "1", "": "2"}), "empty"),
        (lambda cache: cache.set_many({f"{n}": b"x" * (16 * 2**20) for n in range(5)}), "in one call"),
        (lambda cache: cache.keys(limit=0), "a page of 0"),
        (lambda cache: cache.keys(limit=limits.PAGE_MAX + 1), "a page of"),
        (lambda cache: cache.keys(cursor="made up"), "no cursor"),
        (lambda cache: cache.keys(cursor="-1"), "no cursor"),
        (lambda cache: cache.keys("x" * (limits.PATTERN_BYTES_MAX + 1)), "pattern"),
        (lambda cache: cache.delete_matching("x" * (limits.PATTERN_BYTES_MAX + 1)), "pattern"),
        (lambda cache: cache.increment("a", 2**63), "counted by"),
        (lambda cache: cache.decrement("a", -(2**63)), "counted by"),
    ],
)
async def test_what_no_cache_takes_is_refused_before_anything_is_done(cache: Cache, call: Callable[[Any], Any], said):
    await cache.set("a", "stays")
    with pytest.raises(InputError, match=said):
        await call(cache)
    assert await cache.get("a") == b"stays"
    assert await all_keys(cache) == [b"a"]


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_another_deadline_is_for_the_same_cache(cache: Cache):
    await cache.set("a", "1")
    hasty = cache.within(0.5)
    assert (cache.deadline_s, hasty.deadline_s) == (limits.DEADLINE_S, 0.5)
    assert await hasty.get("a") == b"1"
    await hasty.set("a", "2")
    assert await cache.get("a") == b"2"


@pytest.mark.parametrize("deadline_s", [0, -1, math.inf, math.nan])
async def test_a_deadline_is_a_time_that_ends(cache: Cache, deadline_s):
    with pytest.raises(InputError, match="deadline"):
        cache.within(deadline_s)


async def test_it_is_what_the_port_asks_for(cache: Cache):
    assert isinstance(cache, Cache)
