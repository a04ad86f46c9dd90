"""Exercises one real client library against a server. Run by conformance.sh.

usage: conformance.py redis|pymemcache PORT      exit 0: all as expected
"""

import sys


def expect(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def check_redis(port):
    import redis

    # Protocol 2: RESP3 is not spoken, and HELLO 3 is refused.
    client = redis.Redis(host="127.0.0.1", port=port, protocol=2)
    expect(client.flushall(), True)
    expect(client.ping(), True)
    expect(client.set("key", bytes(range(256))), True)
    expect(client.get("key"), bytes(range(256)))
    expect(client.set("key", "no", nx=True), None)
    expect(client.set("other", "no", xx=True), None)
    expect(client.strlen("key"), 256)
    expect(client.exists("key", "key", "missing"), 2)
    expect(client.incr("n"), 1)
    expect(client.incr("n", 41), 42)
    expect(client.decr("n", 2), 40)
    expect(client.append("n", "0"), 3)
    expect(client.mset({"a": "1", "b": "2"}), True)
    expect(client.mget("a", "missing", "b"), [b"1", None, b"2"])
    expect(sorted(client.keys("[ab]")), [b"a", b"b"])
    expect(client.dbsize(), 4)
    expect(client.delete("a", "b", "missing"), 2)
    try:
        client.incr("key")
        raise AssertionError("INCR of a value that is no number was accepted")
    except redis.ResponseError:
        pass
    with client.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.set(f"p{i}", i)
        for i in range(1000):
            pipe.get(f"p{i}")
        expect(pipe.execute(), [True] * 1000 + [str(i).encode() for i in range(1000)])
    expect(client.flushall(), True)
    expect(client.dbsize(), 0)


def check_pymemcache(port):
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", port), default_noreply=False, timeout=20)
    expect(client.flush_all(), True)
    expect(client.set("key", bytes(range(256))), True)
    expect(client.get("key"), bytes(range(256)))
    expect(client.get("missing"), None)
    expect(client.add("key", b"no"), False)
    expect(client.replace("missing", b"no"), False)
    expect(client.set("text", b"b", flags=7), True)
    expect(client.append("text", b"c"), True)
    expect(client.prepend("text", b"a"), True)
    expect(client.get("text"), b"abc")
    value, unique = client.gets("text")
    expect(value, b"abc")
    expect(client.cas("text", b"new", unique), True)
    expect(client.cas("text", b"newer", unique), False)
    expect(client.cas("missing", b"x", unique), None)
    expect(client.set("n", b"10"), True)
    expect(client.incr("n", 32), 42)
    expect(client.decr("n", 50), 0)
    expect(client.incr("missing", 1), None)
    expect(client.touch("n", 1000), True)
    expect(client.set_many({f"m{i}": b"v" for i in range(100)}), [])
    expect(len(client.get_many([f"m{i}" for i in range(200)])), 100)
    expect(client.delete("n"), True)
    expect(client.delete("n"), False)
    client.set("quiet", b"1", noreply=True)
    expect(client.get("quiet"), b"1")
    assert client.version()
    assert b"curr_items" in client.stats()
    expect(client.flush_all(), True)
    expect(client.get("key"), None)
    client.quit()


if __name__ == "__main__":
    {"redis": check_redis, "pymemcache": check_pymemcache}[sys.argv[1]](int(sys.argv[2]))
