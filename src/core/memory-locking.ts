import { readFileSync } from 'node:fs'
import sodium from 'sodium-native'

/**
 * Whether guarded memory is really locked into RAM here. libsodium allocates past the limit of locked memory without a word, so this asks the
 * system: by locking a page, and, where `/proc` tells, by comparing the locked total around an allocation.
 */
export function memoryLocking(): { ok: boolean; detail: string } {
  const probe = Buffer.alloc(4096)
  try {
    sodium.sodium_mlock(probe)
    sodium.sodium_munlock(probe)
  } catch {
    return { ok: false, detail: `the system refuses to lock memory${describeLimit()}` }
  }
  const before = lockedKilobytes()
  const page = sodium.sodium_malloc(1)
  const after = lockedKilobytes()
  sodium.sodium_free(page)
  if (before === undefined || after === undefined) return { ok: true, detail: 'a page could be locked' }
  if (after <= before) return { ok: false, detail: `guarded memory is not locked: the limit is used up${describeLimit()}` }
  return { ok: true, detail: `${after} kB locked${describeLimit()}` }
}

function lockedKilobytes(): number | undefined {
  return procNumber('/proc/self/status', /^VmLck:\s+(\d+) kB/m)
}

function describeLimit(): string {
  const bytes = procNumber('/proc/self/limits', /^Max locked memory\s+(\d+)/m)
  return bytes === undefined ? '' : `, limit ${Math.floor(bytes / 1024)} kB`
}

function procNumber(path: string, pattern: RegExp): number | undefined {
  try {
    const digits = pattern.exec(readFileSync(path, 'utf8'))?.[1]
    return digits === undefined ? undefined : Number(digits)
  } catch {
    return undefined
  }
}
