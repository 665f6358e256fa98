import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openConfig } from '../../src/daemon/config/holder.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { settingRow } from '../../src/daemon/config/settings.ts'
import { besideProxies, configuredProxies } from '../../src/daemon/proxies.ts'
import type { Channel, Transport } from '../../src/transport/types.ts'
import { hasCode } from '../transport/support.ts'

async function homeWith(text: string): Promise<{ home: string; end(): Promise<void> }> {
  const home = await mkdtemp(join(tmpdir(), 'kith-proxies-'))
  await writeFile(join(home, 'config.toml'), text)
  return { home, end: () => rm(home, { recursive: true, force: true }) }
}

test('proxies in the configuration, shown and told without their credentials', async (t) => {
  const { home, end } = await homeWith('[link]\nproxy = ["socks5://me:hunter2@proxy.example:1080", "http://inner:3128"]\n')
  t.after(end)
  const { values } = await loadConfig({ home, env: {} })
  const row = settingRow('link.proxy')
  assert.equal(row.show(values['link.proxy']), '["socks5://proxy.example:1080","http://inner:3128"]')
  assert.deepEqual(row.tell?.(values['link.proxy']), ['socks5://proxy.example:1080', 'http://inner:3128'])
})

test('a proxy that is none, CONFIG_INVALID without its password', async (t) => {
  const { home, end } = await homeWith('link.proxy = ["socks7://me:hunter2@proxy.example"]\n')
  t.after(end)
  await assert.rejects(loadConfig({ home, env: {} }), (error: Error) => {
    hasCode('CONFIG_INVALID')(error)
    assert.doesNotMatch(JSON.stringify([error, error.message]), /hunter2/)
    assert.match(error.message, /link\.proxy\.0 .*socks5:/)
    return true
  })
})

test('proxies of the configuration, changed by a reload, local addresses past them', async (t) => {
  const { home, end } = await homeWith('')
  t.after(end)
  const config = await openConfig({ home, env: {} })
  const proxies = configuredProxies(config)
  const through = (host: string) => proxies.for(host).map(String)
  assert.deepEqual(through('peer.example'), [])
  await writeFile(join(home, 'config.toml'), 'link.proxy = ["socks5://127.0.0.1:9050"]\n')
  await config.reload()
  for (const host of ['127.0.0.1', 'localhost', '::1', '10.1.2.3', '192.168.0.1', '169.254.1.1', 'fd00::1', '::ffff:10.0.0.1'])
    assert.deepEqual(through(host), [], host)
  for (const host of ['peer.example', 'x.onion', '192.0.2.1', '2001:db8::1']) assert.deepEqual(through(host), ['socks5://127.0.0.1:9050'], host)
  await writeFile(join(home, 'config.toml'), 'link.proxy = ["socks5://127.0.0.1:9050"]\nlink.proxy_direct = []\n')
  await config.reload()
  for (const host of ['127.0.0.1', 'localhost', '10.1.2.3']) assert.deepEqual(through(host), ['socks5://127.0.0.1:9050'], host)
})

test('a transport over UDP beside proxies, dials what is local and says why it does not dial the rest', async () => {
  const dialled: string[] = []
  const inner: Transport = {
    scheme: 'quic',
    listen: async (address) => ({ addresses: [address], close: async () => {} }),
    dial: async (address) => {
      dialled.push(address)
      return {} as Channel
    },
    locate: async (address) => {
      dialled.push(address)
      return new Uint8Array()
    },
  }
  const current = { 'link.proxy': ['socks5://127.0.0.1:9050'], 'link.proxy_direct': ['127.0.0.0/8', '::1/128'] }
  const quic = besideProxies(inner, configuredProxies({ current } as unknown as Parameters<typeof configuredProxies>[0]))
  const signal = new AbortController().signal
  const options = { expect: new Uint8Array(32) as never, signal }
  await quic.dial('quic://127.0.0.1:4433', options)
  await quic.dial('quic://[::1]:4433', options)
  await quic.locate?.('quic://localhost:4433', new Uint8Array(), { signal })
  assert.equal(dialled.length, 3)
  for (const address of ['quic://192.0.2.1:1', 'quic://[2001:db8::1]:1', 'quic://peer.example:1']) {
    await assert.rejects(quic.dial(address, options), hasCode('SCHEME_UNAVAILABLE'))
    await assert.rejects(quic.locate?.(address, new Uint8Array(), { signal }) as Promise<unknown>, /UDP, which the proxies/)
  }
  assert.equal(dialled.length, 3)
  assert.deepEqual((await quic.listen('quic://0.0.0.0:1', () => {})).addresses, ['quic://0.0.0.0:1'])
})
