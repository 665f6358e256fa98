import assert from 'node:assert/strict'
import dns from 'node:dns'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createNode, type Node } from '../../src/index.ts'
import { danted, echo, folderOf, type LastProxy, lastProxy, skip, tinyproxy } from './proxy-support.ts'

/** What leaves a node for its peers, through real proxies (`tunnel.outbound`). Where they would go into the world they are told to ask a last proxy, which is here and notes what it was asked for. */
const AWAY = '198.51.100.7'
const ONION = `${'abcdefghijklmnopqrstuvwxyz234567'.repeat(2).slice(0, 56)}.onion`

/** In danted's configuration, which wants each on a line of its own. */
function wayTo({ port }: LastProxy): string {
  return ['route {', `from: 0.0.0.0/0 to: ${AWAY}/32 via: 127.0.0.1 port = ${port}`, 'proxyprotocol: socks_v5', 'command: connect', '}'].join('\n')
}

interface Two {
  readonly near: Node
  readonly far: Node
  /** What comes back of some text through a forward to `target`, or the error. */
  through(target: string): Promise<string>
}

async function twoNodes(t: TestContext, outbound: readonly string[]): Promise<Two> {
  const folder = await folderOf(t)
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  const open = async (name: string, more: NodeJS.ProcessEnv): Promise<Node> => {
    const node = await createNode({ home: join(folder, name), name, listen: ['tcp://127.0.0.1:0'], env: { ...env, ...more } })
    t.after(() => node.close())
    return node
  }
  const far = await open('far', { KITH_TUNNEL_OUTBOUND: outbound.join(',') })
  const near = await open('near', {})
  await near.join(await far.invite())
  return {
    near,
    far,
    async through(target) {
      await using forward = await near.forward({ peer: 'far', target, local: '127.0.0.1:0' })
      const socket = connect(Number(forward.address.split(':')[1]), '127.0.0.1')
      // The end of the forward resets what still runs.
      socket.on('error', () => {})
      t.after(() => void socket.destroy())
      const text = 'there and back '.repeat(10_000)
      socket.write(text)
      let heard = ''
      // tinyproxy ends both halves when one ends, so this side ends last.
      while (heard.length < text.length) heard += String((await once(socket, 'data', { signal: AbortSignal.timeout(15_000) }))[0])
      socket.end()
      return heard === text ? 'carried' : 'changed'
    },
  }
}

for (const name of ['danted', 'tinyproxy', 'danted, then tinyproxy', 'tinyproxy, then danted'] as const) {
  test(`what leaves for peers, goes through ${name} to the address that was checked; this machine’s loopback does not`, {
    skip,
    timeout: 40_000,
  }, async (t) => {
    const target = await echo(t)
    const last = await lastProxy(t, target)
    const names = name.split(', then ')
    // Only the last of a chain is asked for the target; the others for the next proxy, which is here.
    const proxies = await Promise.all(
      names.map(async (program, at) => {
        const ends = at === names.length - 1
        if (program === 'danted') return `socks5://127.0.0.1:${await danted(t, ends ? wayTo(last) : '')}`
        return `http://127.0.0.1:${await tinyproxy(t, ends ? `Upstream http 127.0.0.1:${last.port} "${AWAY}"\n` : '')}`
      }),
    )
    const { near, far, through } = await twoNodes(t, proxies)
    await assert.rejects(through(`${AWAY}:80`), { code: 'FORWARD_DENIED' })
    assert.deepEqual(last.asked, [])
    await far.policy.allow(near.did, 'forward', `${AWAY}:80`)
    assert.equal(await through(`${AWAY}:80`), 'carried')
    assert.deepEqual(last.asked, [names.at(-1) === 'danted' ? `address ${AWAY}:80` : `connect ${AWAY}:80`])
    await far.policy.allow(near.did, 'forward', `127.0.0.1:${target}`)
    assert.equal(await through(`127.0.0.1:${target}`), 'carried')
    assert.equal(last.asked.length, 1)
  })
}

test('an onion address, goes to the last proxy as a name behind danted or tinyproxy, and to no resolver of this machine', {
  skip,
  timeout: 50_000,
}, async (t) => {
  const looked: string[] = []
  const { lookup, promises, resolve } = dns
  const promised = promises.lookup
  const note = (host: string): void => {
    if (/onion/.test(host)) looked.push(host)
  }
  const watched = <F>(ask: F): F =>
    ((host: string, ...rest: readonly unknown[]): unknown => {
      note(host)
      return (ask as (...given: readonly unknown[]) => unknown)(host, ...rest)
    }) as F
  Object.assign(dns, { lookup: watched(lookup), resolve: watched(resolve) })
  promises.lookup = watched(promised)
  syncBuiltinESMExports()
  t.after(() => {
    Object.assign(dns, { lookup, resolve })
    promises.lookup = promised
    syncBuiltinESMExports()
  })
  const last = await lastProxy(t, await echo(t))
  const before = [[`socks5://127.0.0.1:${await danted(t)}`], [`http://127.0.0.1:${await tinyproxy(t)}`]]
  for (const chain of before) {
    const { near, far, through } = await twoNodes(t, [...chain, `socks5://127.0.0.1:${last.port}`])
    await assert.rejects(through(`${ONION}:80`), { code: 'FORWARD_DENIED' })
    await far.policy.allow(near.did, 'forward', '*.onion:80')
    assert.equal(await through(`${ONION}:80`), 'carried')
    assert.deepEqual(last.asked.splice(0), [`name ${ONION}:80`])
  }
  const { near, far, through } = await twoNodes(t, [])
  await far.policy.allow(near.did, 'forward', '*.onion:80')
  await assert.rejects(through(`${ONION}:80`), { code: 'FORWARD_ONION' })
  assert.deepEqual([last.asked, looked], [[], []])
  // The watch itself works.
  await dns.promises.lookup(`watched.${ONION}`).catch(() => undefined)
  assert.deepEqual(looked, [`watched.${ONION}`])
})
