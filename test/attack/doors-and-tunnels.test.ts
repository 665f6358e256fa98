import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { afterEach, describe, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { createSite } from '../../src/site/site.ts'
import { pair } from '../ssh/support.ts'

/** A scanner, an SSH client with a good key, and a peer with one right ask the doors and tunnels for more. */


describe('a scanner that knows nginx', () => {
  const site = createSite({ clock: systemClock })
  const open: Duplex[] = []
  afterEach(() => {
    for (const end of open.splice(0)) end.destroy()
  })

  /** What the site says to these bytes, which need no more to be answered. */
  async function ask(bytes: string): Promise<string> {
    const [mine, theirs] = pair()
    open.push(mine, theirs)
    const place = { remoteAddress: '192.0.2.1', remotePort: 1, encrypted: true, localAddress: '192.0.2.2', localPort: 443 }
    site(theirs, { ...place, upgrade: () => false })
    mine.write(Buffer.from(bytes, 'latin1'))
    const [first] = (await once(mine, 'data')) as [Buffer]
    return first.toString('latin1')
  }

  test('waits to go on, is told so before a page and not before a refusal', async () => {
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'), /^HTTP\/1\.1 100 Continue\r\n\r\n/)
    assert.match(await ask('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'), /^HTTP\/1\.1 405 /)
  })

  test('says two hosts or goes above the root, is refused at that line', async () => {
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await ask('GET /../x HTTP/1.1\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a..b\r\n'), /^HTTP\/1\.1 400 /)
  })

  test('sends a HEAD that is refused, gets no page', async () => {
    assert.match(await ask('HEAD / HTTX'), /^HTTP\/1\.1 400 [^<]*\r\n\r\n$/)
  })

  test('sends chunks that are none, gets no page and no next answer', async () => {
    const chunks = 'HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'
    assert.match(await ask(`GET / ${chunks}`), /^HTTP\/1\.1 400 /)
    assert.match(await ask(`POST / ${chunks}`), /^HTTP\/1\.1 405 [^<]*Connection: close\r\n/)
  })

  test('names a condition twice, or a date that is none, is refused', async () => {
    const get = (lines: string): Promise<string> => ask(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n`)
    assert.match(await get('If-Match: "a"\r\nIf-Match: *'), /^HTTP\/1\.1 400 /)
    assert.match(await get('If-Unmodified-Since: yesterday'), /^HTTP\/1\.1 412 /)
    assert.match(await get('Connection: close\r\nConnection: keep-alive'), /Connection: keep-alive\r\n/)
  })
})
