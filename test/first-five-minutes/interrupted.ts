import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { RunningNode, Stage } from '../cli/support.ts'
import { sha256Of, untilPartial, writeRandom } from './files.ts'

/** One machine of the session, and how it comes back after its node was killed. */
export interface Machine {
  readonly home: string
  readonly name: string
  readonly node: () => RunningNode
  readonly again: () => Promise<void>
}

export interface InterruptedOptions {
  readonly stage: Stage
  readonly sender: Machine
  readonly receiver: Machine
  readonly file: string
  readonly bytes: number
  /** For the whole of each part. */
  readonly commandMs: number
}

interface Sent {
  readonly bytes: number
  readonly sha256: string
  readonly name: string
  readonly resumed: number
}

/**
 * Sends a file while first the receiving node and then the sending one is killed without warning, going on each time with the command that was printed.
 * The file arrives once, whole, under its own name.
 */
export async function sendThroughKills(options: InterruptedOptions): Promise<Sent> {
  const { stage, sender, receiver, file, bytes, commandMs } = options
  const sha256 = await writeRandom(join(stage.folder, file), bytes)
  const args = ['send', receiver.name, file, '--home', sender.home]

  const first = stage.kith(args, { commandMs })
  await untilPartial(receiver.home, bytes * 0.2, commandMs)
  await kill(receiver.node())
  const lost = await first
  assert.equal(lost.status, 1, lost.stderr)
  const printed = /^next: (.* send .* --resume .*)$/m.exec(lost.stderr)?.[1]
  assert.ok(printed !== undefined, lost.stderr)
  await receiver.again()

  const second = stage.shell(printed, {}, commandMs)
  await untilPartial(receiver.home, bytes * 0.6, commandMs)
  await kill(sender.node())
  const cut = await second
  assert.equal(cut.status, 1, cut.stderr)
  assert.match(cut.stderr, /^error\[CONTROL_FAILED\] The node ended while it was sending\.$/m)
  await sender.again()

  const third = await stage.shell(`${printed} --json`, {}, commandMs)
  assert.equal(third.status, 0, third.stderr)
  const sent = JSON.parse(third.stdout) as Sent
  assert.ok(sent.resumed >= bytes * 0.5 && sent.resumed < bytes, `resumed at ${sent.resumed}`)
  assert.deepEqual([sent.bytes, sent.sha256, sent.name], [bytes, sha256, file])
  const inbox = await stage.json<{ inbox: string; files: { name: string; sha256: string }[] }>(['inbox', '--home', receiver.home])
  assert.deepEqual(
    inbox.files.filter(({ name }) => name.startsWith(file.split('.')[0] as string)).map(({ name, sha256: digest }) => [name, digest]),
    [[file, sha256]],
  )
  assert.equal(await sha256Of(join(inbox.inbox, file)), sha256)
  return sent
}

export async function kill(node: RunningNode): Promise<void> {
  process.kill(node.ready.pid, 'SIGKILL')
  await node.exited
}
