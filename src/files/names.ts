import { KithError } from '../core/errors.ts'

/** Longest file name common file systems store (ext4, APFS, NTFS: 255). Room is left for ` (999)` behind the stem. */
const MAX_NAME_BYTES = 240
/** With that number. */
export const MAX_STORED_NAME_BYTES = 246
// Names that mean a device on Windows whatever their extension (a file may be copied there later); superscript digits count as digits there.
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$/i
// Control characters, separators, and what Windows refuses; what nobody sees: bidirectional overrides make `exe.txt` out of `txt.exe`.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}/\\:*?"<>|]/u
const UNSEEN = /\p{Cf}/u
/** Zero-width joiners: scripts and families need them. */
const JOINERS = /[\u200c\u200d]/g

/**
 * Checks a file name from the wire. Nothing is repaired: a name that would have to be changed is refused, so both sides always speak of the same file.
 * @throws KithError `FILE_NAME`.
 */
export function checkName(name: string, limit: number = MAX_NAME_BYTES): string {
  const bad =
    name.length === 0 ||
    Buffer.byteLength(name) > limit ||
    name !== name.normalize('NFC') ||
    // Hidden, an option to whatever command gets it from `*`, or ending in what Windows drops.
    /^[. -]|[. ]$/.test(name) ||
    UNSAFE.test(name) ||
    UNSEEN.test(name.replace(JOINERS, '')) ||
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
