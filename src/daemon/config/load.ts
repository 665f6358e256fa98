import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import { KithError } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import { lineOfSetting } from './lines.ts'
import { type Config, environmentName, isSettingPath, SETTING_PATHS, type SettingPath, settingRow } from './settings.ts'

export type ConfigSource = 'default' | 'file' | 'environment' | 'flag'

export interface LoadedConfig {
  readonly values: Config
  /** Where each value came from. Later sources win: default, file, environment, flag. */
  readonly sources: { readonly [P in SettingPath]: ConfigSource }
  readonly file: string
}

export interface ConfigInput {
  readonly home: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Values from the command line, already of their types. */
  readonly flags?: { readonly [P in SettingPath]?: unknown }
}

const CONFIG_FILE = 'config.toml'
/** A larger file is not one that a person wrote. */
const MAX_FILE_BYTES = 262_144
/** How much of a key that is none is repeated. */
const MAX_SHOWN = 100
/** Settings whose flag has another name than they. */
const FLAGS: { readonly [P in SettingPath]?: string } = { 'gateway.listen': '--gateway' }
/** Read by the command line itself or by the launcher; not settings. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(['KITH_HOME', 'KITH_NODE', 'KITH_LAUNCHER', 'KITH_DETACHED'])

export function configFile(home: string): string {
  return join(home, CONFIG_FILE)
}

/**
 * Reads file, environment and flags, checks every key and value, and returns one complete configuration.
 * @throws KithError `CONFIG_INVALID` with the path of the bad key, where it stands, and the nearest setting's name.
 */
export async function loadConfig(input: ConfigInput): Promise<LoadedConfig> {
  const file = configFile(input.home)
  const values = new Map<SettingPath, unknown>(SETTING_PATHS.map((path) => [path, settingRow(path).fallback]))
  const sources = new Map<SettingPath, ConfigSource>(SETTING_PATHS.map((path) => [path, 'default']))
  const { table, text } = await readTable(file)
  const set = (path: string, value: unknown, source: ConfigSource, name: string): void => {
    const place: Place = source === 'file' ? { name, line: lineOfSetting(text, path) } : { name }
    if (!isSettingPath(path)) throw unknownSetting(path, place)
    values.set(path, check(path, value, place))
    sources.set(path, source)
  }
  for (const [path, value] of flatten(table)) set(path, value, 'file', file)
  for (const [path, text, name] of fromEnvironment(input.env)) set(path, parseText(path, text), 'environment', name)
  for (const [path, value] of Object.entries(input.flags ?? {})) if (value !== undefined) set(path, value, 'flag', flagOf(path))
  return { values: Object.fromEntries(values) as unknown as Config, sources: Object.fromEntries(sources) as LoadedConfig['sources'], file }
}

/** Where a value stands: a file and its line, a variable, or a flag. */
interface Place {
  readonly name: string
  readonly line?: number | undefined
}

function flagOf(path: string): string {
  return (isSettingPath(path) ? FLAGS[path] : undefined) ?? `--${path.replaceAll('.', '-')}`
}

function shown({ name, line }: Place): string {
  return line === undefined ? name : `line ${line} of ${name}`
}

function placeDetails({ name, line }: Place): { readonly place: string; readonly line?: number } {
  const place = name.slice(0, 300)
  return line === undefined ? { place } : { place, line }
}

async function readTable(file: string): Promise<{ readonly table: Record<string, unknown>; readonly text: string }> {
  let text: string
  try {
    const { size } = await checkFile(file)
    if (size > MAX_FILE_BYTES) throw tooLarge(file)
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if (cause instanceof KithError) throw cause
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { table: {}, text: '' }
    throw new KithError('CONFIG_INVALID', `The configuration file cannot be read: ${file}.`, { details: { place: file }, next: `chmod u+r ${file}`, cause })
  }
  if (text.length > MAX_FILE_BYTES) throw tooLarge(file)
  try {
    return { table: parseToml(text), text }
  } catch (cause) {
    const at = cause instanceof TomlError ? { line: cause.line, column: cause.column } : {}
    const where = cause instanceof TomlError ? `line ${cause.line}, column ${cause.column} of ${file}` : file
    throw new KithError('CONFIG_INVALID', `The configuration is not valid TOML at ${where}${reasonOf(cause)}.`, {
      details: { place: file, ...at },
      next: 'kith config check (after it is corrected)',
      cause,
    })
  }
}

/** The first line only: the others repeat the file, which may hold secrets. */
function reasonOf(cause: unknown): string {
  const reason = cause instanceof TomlError ? /^Invalid TOML document: (.+)$/m.exec(cause.message)?.[1] : undefined
  return reason === undefined ? '' : `: ${reason}`
}

/** What is no file may have no end, and a pipe nobody writes to would be waited for. */
async function checkFile(file: string): Promise<{ readonly size: number }> {
  const found = await stat(file)
  if (found.isFile()) return found
  throw new KithError('CONFIG_INVALID', `The configuration is not a file: ${file}.`, { details: { place: file }, next: `ls -l ${file}` })
}

function tooLarge(file: string): KithError {
  return new KithError('CONFIG_INVALID', `The configuration file is larger than ${MAX_FILE_BYTES} bytes.`, {
    details: { place: file },
    next: `ls -l ${file}`,
  })
}

/** Nested tables as dotted paths. A table where a value belongs is reported by the value's own check. */
function* flatten(table: Record<string, unknown>, prefix = '', depth = 0): Generator<[string, unknown]> {
  for (const [key, value] of Object.entries(table)) {
    const path = prefix + key
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
    if (isTable && !isSettingPath(path) && depth < 8) yield* flatten(value as Record<string, unknown>, `${path}.`, depth + 1)
    else yield [path, value]
  }
}

function* fromEnvironment(env: Readonly<Record<string, string | undefined>>): Generator<[SettingPath, string, string]> {
  const paths = new Map(SETTING_PATHS.map((path) => [environmentName(path), path]))
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('KITH_') || text === undefined || NOT_SETTINGS.has(name)) continue
    const path = paths.get(name)
    if (path !== undefined) yield [path, text, name]
    else throw unknownSetting(name, { name: 'the environment' }, [...paths.keys(), ...NOT_SETTINGS])
  }
}

/** Text of an environment variable as the kind of value the setting has: lists are separated by commas. */
function parseText(path: SettingPath, text: string): unknown {
  const { fallback } = settingRow(path)
  if (Array.isArray(fallback)) return text === '' ? [] : text.split(',').map((part) => part.trim())
  if (typeof fallback === 'boolean') return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text
  // A duration has a number inside and is written as text, so only plain digits become a number.
  return typeof fallback === 'number' && /^\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text
}

function check(path: SettingPath, value: unknown, place: Place): unknown {
  const parsed = settingRow(path).schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const at = [path, ...(issue?.path ?? []).map(String)].join('.')
  throw new KithError('CONFIG_INVALID', `${at} in ${shown(place)} is not valid: ${issue?.message ?? 'wrong value'}.`, {
    details: { path: at, ...placeDetails(place), expected: issue?.message ?? '' },
    next: place.name.startsWith('--') ? 'kith up --help' : `kith config show ${path} --defaults`,
  })
}

function unknownSetting(path: string, place: Place, names: readonly string[] = SETTING_PATHS): KithError {
  const meant = nearest(path, names)
  const known = path.length > MAX_SHOWN ? `${path.slice(0, MAX_SHOWN)}...` : path
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`
  return new KithError('CONFIG_INVALID', `${known} in ${shown(place)} is not a setting${hint === '' ? '.' : hint}`, {
    details: { path: known, ...placeDetails(place), nearest: meant ?? null },
    next: meant !== undefined && isSettingPath(meant) ? `kith config show ${meant} --defaults` : 'kith config show --defaults',
  })
}
