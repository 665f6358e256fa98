import { KithError } from '../core/errors.ts'

/** Longest file name common file systems store (ext4, APFS, NTFS: 255). Room is left for ` (999)` behind the stem. */
const MAX_NAME_BYTES = 240
// Names that mean a device on Windows whatever their extension (a file may be copied there later).
const DEVICE = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$/i
// Control characters, separators, and what Windows refuses; bidirectional overrides make `exe.txt` out of `txt.exe`.
const UNSAFE = /[\p{Cc}/\\:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069]/u

/**
 * Checks a file name from the wire. Nothing is repaired: a name that would have to be changed is refused, so both sides always speak of the same file.
 * @throws KithError `FILE_NAME`.
 */
export function checkName(name: string): string {
  const bad =
    name.length === 0 ||
    Buffer.byteLength(name) > MAX_NAME_BYTES ||
    name !== name.normalize('NFC') ||
    name.startsWith('.') ||
    /[. ]$/.test(name) ||
    UNSAFE.test(name) ||
    DEVICE.test(name)
  if (bad) throw new KithError('FILE_NAME', undefined, { next: 'rename the file and send it again' })
  return name
}

/** `name`, `name (1)`, `name (2)`, ... with the number before the extension. */
export function* alternatives(name: string): Generator<string> {
  yield name
  const dot = name.lastIndexOf('.')
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, '']
  for (let n = 1; n < 1_000; n++) yield `${stem} (${n})${extension}`
}
