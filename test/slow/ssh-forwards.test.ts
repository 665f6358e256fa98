import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { danted, echo, lastProxy, skip as noProxies, tinyproxy } from './proxy-support.ts'
import { keygen, realSshd, run, workplace } from './ssh-support.ts'

/** Forwards by ordinary SSH servers that are reached through proxies, and that come back with the node. */
const noSshd = spawnSync('test', ['-x', '/usr/sbin/sshd']).status === 0 ? (process.getuid?.() === 0 ? false : 'sshd runs as root') : 'no sshd here'
const ONION = `${'abcdefghijklmnopqrstuvwxyz234567'.repeat(2).slice(0, 56)}.onion`

async function exchange(address: string, text: string): Promise<string> {
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
  socket.end(text)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

interface Listed {
  readonly id: string
  readonly open: boolean
  readonly local: string
  readonly last_error: { readonly code: string; readonly next: string | null } | null
}

test('a saved forward through an SSH server behind proxies, waits after a restart for the vault, says so, and carries as soon as it is open', {
  skip: noSshd || noProxies,
  timeout: 55_000,
}, async (context) => {
  const directory = await workplace(context)
  const at = (file: string): string => join(directory, file)
  await keygen('-t', 'ed25519', '-N', '', '-f', at('host'))
  await writeFile(at('authorized'), '')
  const port = await realSshd(context, directory, [])
  const fingerprint = (await run('ssh-keygen', ['-lf', at('host.pub')])).out.split(' ')[1] as string
  const target = await echo(context)
  // Names are the last proxy's to resolve: to it the server is an onion address.
  const last = await lastProxy(context, port)
  const proxies = [`socks5://127.0.0.1:${await danted(context)}`, `http://127.0.0.1:${await tinyproxy(context)}`, `socks5://127.0.0.1:${last.port}`]
  const home = at('home')
  const launcher = new URL('../../bin/kith.mjs', import.meta.url).pathname
  const kith = (...args: readonly string[]): ReturnType<typeof run> =>
    run('env', [`XDG_STATE_HOME=${at('state')}`, 'NO_COLOR=1', process.execPath, launcher, ...args, '--home', home])
  const good = async (...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await kith(...args)
    assert.equal(status, 0, `${args.join(' ')}: ${err}`)
    return out.trim()
  }
  const listed = async (): Promise<readonly Listed[]> => (JSON.parse(await good('tunnels', '--json')) as { tunnels: readonly Listed[] }).tunnels
  await good('init', '--no-passphrase')
  await writeFile(
    join(home, 'config.toml'),
    `listen = ["tcp://127.0.0.1:0"]\n[discovery]\nmdns = false\n[link]\nproxy = ${JSON.stringify(proxies)}\nproxy_direct = []\n`,
  )
  await good('up', '--detach')
  // Before the sshd, which does not end while somebody is logged in.
  try {
    await good('vault', 'unlock')
    await appendFile(at('authorized'), `${await good('ssh', 'key', '--quiet')}\n`)
    const first = await good(
      'forward',
      `ssh://root@${ONION}`,
      `127.0.0.1:${target}`,
      '--local',
      '127.0.0.1:0',
      '--host-key',
      fingerprint,
      '--save',
      'wiki',
      '--quiet',
    )
    assert.equal(await exchange(first, 'through four'), 'through four')
    assert.deepEqual(last.asked.splice(0), [`name ${ONION}:22`])
    assert.match(await readFile(join(home, 'config.toml'), 'utf8'), /kind = "ssh"/)

    await good('down')
    await good('up', '--detach')
    const [waiting] = await listed()
    assert.deepEqual([waiting?.id, waiting?.open, waiting?.last_error?.code, waiting?.last_error?.next], ['wiki', false, 'VAULT_LOCKED', 'kith vault unlock'])
    assert.match(await good('tunnels'), /waits: VAULT_LOCKED[^\n]*\n\s+next: .*vault unlock/)
    assert.match(await good('status', '--json'), /"code":"VAULT_LOCKED","message":"the forward wiki waits/)
    await assert.rejects(exchange(waiting?.local as string, 'too early'), { code: 'ECONNRESET' })
    assert.deepEqual(last.asked, [], 'nobody is asked before there is a key')
    await good('vault', 'unlock')
    assert.equal(await exchange(waiting?.local as string, 'by itself'), 'by itself')
    assert.deepEqual(last.asked.splice(0), [`name ${ONION}:22`])
    const [open] = await listed()
    assert.deepEqual([open?.open, open?.last_error], [true, null])
    assert.doesNotMatch(await good('tunnels'), /VAULT_LOCKED/)
  } finally {
    await kith('down')
  }
})
