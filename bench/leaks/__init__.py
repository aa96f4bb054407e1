"""The leak fuzz: mixed traffic of many tenants, each marked with a canary, in search of one foreign row.

`python -m bench.leaks` runs it on services of its own. As a library (after django.setup()):

    world = make(6)                                  # bench.leaks.world
    async with running(world, seed=1) as fuzz:       # bench.leaks.fuzz
        ledger = await fuzz.run(seconds=10)
    assert not ledger.leaks

`bench.leaks.seeds` breaks the product on purpose, one defence at a time, to show that the fuzz would notice.
"""
