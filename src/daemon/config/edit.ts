import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { parse as parseToml } from 'smol-toml'
import { KithError } from '../../core/errors.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import { formatNamedForward, type NamedForward } from './forwards.ts'
import { configFile } from './load.ts'

/** Appends a forward to the configuration file; everything that stands there, comments too, stays as it is. @throws KithError `CONFIG_INVALID`. */
export async function saveForward(home: string, forward: NamedForward): Promise<void> {
  const { file, text } = await readConfig(home)
  const rows = rowsOf(text, file)
  const added = `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${text === '' ? '' : '\n'}${formatNamedForward(forward)}`
  if (rowsOf(added, file).length !== rows.length + 1) throw unclear(file)
  await writeAtomic(file, Buffer.from(added))
}

/** Takes a forward out of the file. False when it is not there. @throws KithError `CONFIG_INVALID` when its row is written in a way that only a person should change. */
export async function forgetForward(home: string, name: string): Promise<boolean> {
  const { file, text } = await readConfig(home)
  const rows = rowsOf(text, file)
  const rest = rows.filter((row) => row.name !== name)
  if (rest.length === rows.length) return false
  const lines = text.split('\n')
  for (let start = 0; start < lines.length; start++) {
    if (lines[start]?.trim() !== '[[forward]]') continue
    const after = lines.findIndex((line, at) => at > start && /^\s*\[/.test(line))
    const without = lines.toSpliced(start, (after === -1 ? lines.length : after) - start).join('\n')
    if (!isDeepStrictEqual(rowsOf(without, file), rest)) continue
    await writeAtomic(file, Buffer.from(without))
    return true
  }
  throw unclear(file)
}

async function readConfig(home: string): Promise<{ readonly file: string; readonly text: string }> {
  const file = configFile(home)
  try {
    return { file, text: await readFile(file, 'utf8') }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { file, text: '' }
    throw new KithError('CONFIG_INVALID', `The configuration file cannot be read: ${file}.`, { details: { place: file }, cause })
  }
}

function rowsOf(text: string, file: string): readonly Record<string, unknown>[] {
  try {
    const { forward = [] } = parseToml(text)
    return forward as unknown as readonly Record<string, unknown>[]
  } catch (cause) {
    throw new KithError('CONFIG_INVALID', `The configuration is not valid TOML: ${file}.`, { details: { place: file }, next: 'kith config check', cause })
  }
}

function unclear(file: string): KithError {
  return new KithError('CONFIG_INVALID', `The forwards in ${file} are not written as [[forward]] tables; edit the file by hand.`, { details: { place: file } })
}
