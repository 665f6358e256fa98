import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { openHome } from '../../src/identity/home.ts'
import { createStage, type Stage } from './support.ts'

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

interface Right {
  readonly did: string
  readonly may_rotate: boolean
  readonly chain: { readonly index: number; readonly head: string }
}

/** A home as `kith init --no-passphrase` makes it, and its phrase, which the command shows on terminals only. */
async function madeWithPhrase(name: string): Promise<{ home: string; phrase: string; did: string }> {
  const path = stage.home(name)
  await using home = await openHome(path)
  const { summary, phrase } = await setUpIdentity({
    home,
    name,
    clock: systemClock,
    random: systemRandom,
    environment: { XDG_STATE_HOME: join(stage.folder, 'state') },
  })
  const text = phrase.use((bytes) => bytes.toString())
  phrase.wipe()
  return { home: path, phrase: text, did: summary.did }
}

const right = (home: string, ...args: string[]): Promise<Right> => stage.json<Right>(['id', 'rotation', ...args, '--home', home])

test('init --restore asks a machine of the identity first: same DID, present keys, new machine, peers accept it', async () => {
  const { home, phrase, did } = await madeWithPhrase('laptop')
  await stage.json(['id', 'rotate', '--home', home])
  const node = await stage.up(home, ['--listen', 'tcp://127.0.0.1:0'])
  const from = node.ready.listen[0] as string
  const friend = stage.home('friend')
  await stage.json(['init', '--no-passphrase', '--home', friend])
  const other = await stage.up(friend, ['--listen', 'tcp://127.0.0.1:0'])
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', home])
  await stage.json(['join', ticket, '--home', friend])

  const restored = stage.home('restored')
  const made = await stage.json(['init', '--restore', '--no-passphrase', '--from', from, '--name', 'new', '--home', restored], { input: phrase })
  assert.equal(made.did, did)
  const known = await right(restored, 'status')
  assert.deepEqual(known, await right(home))
  assert.equal(known.may_rotate, true)
  assert.equal(known.chain.index, 1)
  const second = await stage.up(restored, ['--listen', 'tcp://127.0.0.1:0'])
  const invited = await stage.json<{ ticket: string }>(['invite', '--home', friend])
  const joined = await stage.json(['join', invited.ticket, '--home', restored])
  assert.equal(joined.did, other.ready.did)

  // Without a source it is used and not changed, until its owner lets it learn.
  const blind = stage.home('blind')
  const blindly = await stage.kith(['init', '--restore', '--no-passphrase', '--home', blind], { input: phrase })
  assert.equal(blindly.status, 0, blindly.stderr)
  assert.match(blindly.stderr, /id rotation take --from/)
  assert.equal((await right(blind)).may_rotate, false)
  const refused = await stage.kith(['id', 'rotate', '--json', '--home', blind])
  assert.match(refused.stdout + refused.stderr, /IDENTITY_LOCKED/)
  const alone = await stage.kith(['id', 'rotation', 'take', '--json', '--home', blind])
  assert.match(alone.stdout + alone.stderr, /PEER_UNREACHABLE/)
  assert.deepEqual(await right(blind, 'take', '--from', from), known)
  await stage.json(['id', 'rotate', '--home', blind])
  assert.equal((await right(blind, 'give')).may_rotate, false)

  // A running node learns it from a linked peer or an address, too.
  assert.equal((await right(home, 'give')).may_rotate, false)
  assert.equal((await right(home, 'take')).may_rotate, true)

  const wrong = await stage.kith(['init', '--restore', '--no-passphrase', '--from', from, '--json', '--home', stage.home('wrong')], {
    input: 'legal winner thank year wave sausage worth useful legal winner thank yellow',
  })
  assert.notEqual(wrong.status, 0)
  assert.match(wrong.stdout + wrong.stderr, /PEER_UNREACHABLE/)
  assert.ok(!existsSync(join(stage.home('wrong'), 'identity.age')))
  for (const running of [node, other, second]) {
    running.process.kill('SIGTERM')
    await running.exited
  }
})

test('id export and id import, by passphrase file and by phrase, carry the identity and refuse to overwrite', async () => {
  const { home, phrase, did } = await madeWithPhrase('source')
  const secret = join(stage.folder, 'file-passphrase')
  writeFileSync(secret, 'of the file\n', { mode: 0o600 })
  const file = join(stage.folder, 'ann.kith')
  const exported = await stage.json(['id', 'export', file, '--file-passphrase-file', secret, '--home', home])
  assert.equal(exported.did, did)
  const again = await stage.kith(['id', 'export', file, '--file-passphrase-file', secret, '--json', '--home', home])
  assert.match(again.stdout + again.stderr, /FILE_EXISTS/)
  const target = stage.home('target')
  const imported = await stage.json(['id', 'import', file, '--file-passphrase-file', secret, '--no-passphrase', '--home', target])
  assert.equal(imported.did, did)
  assert.equal(imported.safety_copy, null)
  assert.equal((await right(target)).may_rotate, false)
  const over = await stage.kith(['id', 'import', file, '--file-passphrase-file', secret, '--no-passphrase', '--json', '--home', target])
  assert.match(over.stdout + over.stderr, /IDENTITY_EXISTS/)
  const replaced = await stage.json<{ safety_copy: string; may_rotate: boolean }>([
    'id', 'import', file, '--file-passphrase-file', secret, '--no-passphrase', '--replace', '--rotation', '--home', target,
  ]) // biome-ignore format: one command line
  assert.ok(existsSync(join(replaced.safety_copy, 'identity.age')))
  assert.equal(replaced.may_rotate, true)

  const byPhrase = join(stage.folder, 'by-phrase.kith')
  await stage.json(['id', 'export', byPhrase, '--with-phrase', '--home', home])
  const third = await stage.json(['id', 'import', byPhrase, '--with-phrase', '--no-passphrase', '--home', stage.home('third')], { input: phrase })
  assert.equal(third.did, did)
  assert.equal((await stage.json(['id', 'upgrade-pq', '--home', home])).rotations, 0)
})

test('id duress: by the second passphrase the node is another identity with an empty address book, and by the first it is what it was', async () => {
  const home = stage.home('duress')
  const file = (name: string): string => join(stage.folder, name)
  for (const name of ['first', 'second']) writeFileSync(file(name), `${name} passphrase\n`, { mode: 0o600 })
  const { did } = await stage.json(['init', '--passphrase-file', file('first'), '--home', home])
  await stage.json(['init', '--no-passphrase', '--home', stage.home('other')])
  const other = await stage.up(stage.home('other'), ['--listen', 'tcp://127.0.0.1:0'])
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', stage.home('other')])
  const listen = ['--listen', 'tcp://127.0.0.1:0', '--passphrase-file']
  const first = await stage.up(home, [...listen, file('first')])
  await stage.json(['join', ticket, '--home', home])
  first.process.kill('SIGTERM')
  await first.exited
  const set = await stage.json(['id', 'duress', 'set', '--passphrase-file', file('first'), '--second-passphrase-file', file('second'), '--home', home])
  assert.deepEqual(set, { did, set: true })

  const second = await stage.up(home, [...listen, file('second')])
  assert.notEqual(second.ready.did, did)
  const shown = await stage.json<{ did: string }>(['id', '--home', home])
  assert.equal(shown.did, second.ready.did)
  assert.deepEqual(await stage.json(['peers', '--home', home]), { peers: [] })
  second.process.kill('SIGTERM')
  await second.exited
  const asked = await stage.json(['id', 'duress', 'status', '--passphrase-file', file('second'), '--home', home])
  assert.deepEqual(asked, { did: second.ready.did, set: false })

  const again = await stage.up(home, [...listen, file('first')])
  assert.equal(again.ready.did, did)
  const { peers } = await stage.json<{ peers: { did: string }[] }>(['peers', '--home', home])
  assert.deepEqual(
    peers.map((peer) => peer.did),
    [other.ready.did],
  )
  for (const running of [again, other]) {
    running.process.kill('SIGTERM')
    await running.exited
  }
  const without = await stage.kith(['id', 'duress', 'set', '--second-passphrase-file', file('second'), '--json', '--home', stage.home('other')])
  assert.match(without.stdout + without.stderr, /USAGE/)
})

test('work on keys in a home without an identity, IDENTITY_MISSING whether or not the daemon is asked first', async () => {
  const home = stage.home('nobody')
  for (const args of [['rotate'], ['hardware', 'show']]) {
    const { stdout, stderr } = await stage.kith(['id', ...args, '--home', home, '--json'])
    assert.match(stdout + stderr, /IDENTITY_MISSING/, args.join(' '))
  }
})
