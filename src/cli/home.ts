import { realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'

/** Where a node's files are: `--home`, else `KITH_HOME`, else `~/.kith`. */
export interface HomeChoice {
  /** Absolute, with links resolved as far as the path exists, so that every process names it alike. */
  readonly path: string
  /** What must be repeated on a command line to mean the same home; empty when nothing must. */
  readonly flags: string
}

export function chooseHome(flag: string | undefined, env: Readonly<Record<string, string | undefined>>, cwd: string): HomeChoice {
  const given = flag ?? (env.KITH_HOME === '' ? undefined : env.KITH_HOME)
  const path = canonical(resolve(cwd, given ?? join(homedir(), '.kith')))
  return { path, flags: flag === undefined ? '' : ` --home ${shellWord(flag)}` }
}

/** Resolves links in the part of the path that exists; a home that is to be made keeps its last names. */
function canonical(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(canonical(parent), basename(path))
  }
}

/** A word a POSIX shell reads as itself. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** How this program was called, so that printed commands work when pasted: `kith`, or `node bin/kith.mjs` in a checkout. */
export function programName(launcher: string | undefined, cwd: string): string {
  if (launcher === undefined || basename(launcher) === 'kith' || basename(launcher) === 'kith.cmd') return 'kith'
  const path = relative(cwd, launcher)
  return `node ${shellWord(path.startsWith('..') ? launcher : path)}`
}

/**
 * Makes a command of our own pasteable; text that is not one stays as it is. A remark in brackets at its end goes before it, and a command for another
 * machine is not given this one's home.
 */
export function pasteable(text: string, program: string, homeFlags: string): string {
  if (!/^kith( |$)/.test(text)) return text
  const [, bare, remark] = /^(.+) \(([^()]+)\)$/.exec(text) ?? []
  if (bare !== undefined) return `${remark}: ${remark?.startsWith('on the ') ? bare : pasteable(bare, program, homeFlags)}`
  const separator = text.indexOf(' -- ')
  const own = separator < 0 ? text : text.slice(0, separator)
  const rest = separator < 0 ? '' : text.slice(separator)
  return `${program}${own.slice('kith'.length)}${own.includes(' --home ') ? '' : homeFlags}${rest}`
}
