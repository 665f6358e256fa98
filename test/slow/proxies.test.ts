import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { createNode } from '../../src/index.ts'
import { connectThrough, parseProxy } from '../../src/transport/proxy.ts'
import { freePort } from '../support/ports.ts'
import { danted, folderOf, skip, tinyproxy } from './proxy-support.ts'

async function echo(t: TestContext): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.write('hello ')
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

function through(proxies: readonly string[], host: string, port: number): ReturnType<typeof connectThrough> {
  return connectThrough(proxies.map(parseProxy), { host, port, signal: AbortSignal.timeout(15_000), clock: systemClock })
}

test('danted and tinyproxy, each alone and in both chains: the target is reached by name and by address', { skip, timeout: 50_000 }, async (t) => {
  const [socks, http, target] = [await danted(t), await tinyproxy(t, 'BasicAuth user secret\n'), await echo(t)]
  const socksUrl = `socks5://127.0.0.1:${socks}`
  const httpUrl = `http://user:secret@127.0.0.1:${http}`
  for (const chain of [[socksUrl], [httpUrl], [socksUrl, httpUrl], [httpUrl, socksUrl], [socksUrl, httpUrl, socksUrl]]) {
    for (const host of ['localhost', '127.0.0.1']) {
      const socket = await through(chain, host, target)
      socket.write('world')
      let heard = ''
      // tinyproxy ends both halves when one ends, so this side ends last.
      while (heard.length < 'hello world'.length) heard += String((await once(socket, 'data'))[0])
      assert.equal(heard, 'hello world', `${chain.length} to ${host}`)
      socket.destroy()
    }
  }
})

test('refusals of real proxies, told apart', { skip, timeout: 50_000 }, async (t) => {
  const [socks, http, nobody] = [await danted(t), await tinyproxy(t, 'BasicAuth user secret\nConnectPort 443\n'), await freePort()]
  const ends = async (proxy: string, host: string, port: number): Promise<string> => {
    const error = await through([proxy], host, port).then(
      () => assert.fail('it was carried'),
      (thrown: unknown) => thrown as KithError,
    )
    assert.ok(isKithError(error) && !JSON.stringify([error, error.message]).includes('secret'))
    return `${error.code} ${error.details.reason}`
  }
  assert.equal(await ends(`socks5://127.0.0.1:${socks}`, '127.0.0.1', nobody), 'ADDRESS_UNREACHABLE connection-refused')
  assert.equal(await ends(`socks5://127.0.0.1:${socks}`, '127.0.0.9', nobody), 'PROXY_REFUSED ruleset')
  assert.match(await ends(`socks5://127.0.0.1:${socks}`, 'no-such-host.invalid', 1), /^ADDRESS_UNREACHABLE /)
  assert.equal(await ends(`http://127.0.0.1:${http}`, 'localhost', 443), 'PROXY_AUTH status-407')
  assert.equal(await ends(`http://user:wrong-secret@127.0.0.1:${http}`, 'localhost', 443), 'PROXY_AUTH status-401')
  assert.equal(await ends(`http://user:secret@127.0.0.1:${http}`, 'localhost', nobody), 'PROXY_REFUSED status-403')
  assert.equal(await ends(`http://127.0.0.1:${socks}`, 'localhost', 443), 'PROXY_UNREACHABLE closed')
})

test('two nodes that meet through a chain of proxies, though one of them may dial nothing itself; quic says why it does not', {
  skip,
  timeout: 50_000,
}, async (t) => {
  const [socks, http, folder] = [await danted(t), await tinyproxy(t), await folderOf(t)]
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  await using desk = await createNode({ home: join(folder, 'desk'), listen: ['tcp://127.0.0.1:0', 'quic://127.0.0.1:0'], env })
  const proxied = { ...env, KITH_LINK_PROXY: `socks5://127.0.0.1:${socks},http://127.0.0.1:${http}`, KITH_LINK_PROXY_DIRECT: '' }
  await using laptop = await createNode({ home: join(folder, 'laptop'), listen: ['tcp://127.0.0.1:0'], env: proxied })
  desk.handle('test/echo/1', async (stream) => void stream.pipe(stream))
  await laptop.join(await desk.invite())
  const stream = await laptop.open(desk.did, 'test/echo/1')
  stream.end('through two proxies')
  assert.equal(await text(stream), 'through two proxies')
  assert.equal(desk.status().peers[0]?.path?.scheme, 'tcp')
  await using udp = await createNode({ home: join(folder, 'udp'), listen: ['quic://127.0.0.1:0'], env })
  await assert.rejects(laptop.join(await udp.invite()), (error: Error) => /UDP, which the proxies in link\.proxy do not carry/.test(error.message))
})
