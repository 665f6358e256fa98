import { writeAtomic } from './atomic-file.ts'
import { type Home, readPrivateFile } from './home.ts'

/**
 * The number of this run (PN-7): one more than the last, and on disk before anything is signed, so that peers can tell a restart from a clone and no
 * (boot, sequence) pair is ever used twice. `floor` is the number `device.age` remembers (`device.content.boot`). When the file is gone the number is taken
 * from the clock (`now`, ms): far above any count of restarts, and peers only ask that it rises.
 */
export async function nextBoot(home: Home, floor: number, now: number): Promise<number> {
  const boot = Math.max((await storedBoot(home)) ?? Math.floor(now / 1000), floor) + 1
  await writeBoot(home, boot)
  return boot
}

/** The number of the last run; `undefined` when it was lost. */
export async function storedBoot(home: Home): Promise<number | undefined> {
  const stored = await readPrivateFile(home.paths.boot, 64)
  const text = stored === undefined ? '' : Buffer.from(stored).toString('latin1')
  return /^(0|[1-9][0-9]{0,14})\n$/.test(text) ? Number(text) : undefined
}

export function writeBoot(home: Home, boot: number): Promise<void> {
  return writeAtomic(home.paths.boot, Buffer.from(`${boot}\n`))
}
