import { writeAtomic } from './atomic-file.ts'
import type { LocalDevice } from './device.ts'
import { type Home, readPrivateFile } from './home.ts'

/**
 * The number of this run (PN-7): one more than the last, and on disk before anything is signed, so that peers can tell a restart from a clone and no
 * (boot, sequence) pair is ever used twice. It never falls below what `device.age` remembers. When the file is gone the number is taken from the clock (`now`, ms):
 * far above any count of restarts, and peers only ask that it rises.
 */
export async function nextBoot(home: Home, device: LocalDevice, now: number): Promise<number> {
  const stored = await readPrivateFile(home.paths.boot, 64)
  const text = stored === undefined ? '' : Buffer.from(stored).toString('latin1')
  const count = /^(0|[1-9][0-9]{0,15})\n$/.test(text) ? Number(text) : Math.floor(now / 1000)
  const boot = Math.max(count, device.content.boot) + 1
  await writeBoot(home, boot)
  device.noteBoot(boot)
  return boot
}

export function writeBoot(home: Home, boot: number): Promise<void> {
  return writeAtomic(home.paths.boot, Buffer.from(`${boot}\n`))
}
