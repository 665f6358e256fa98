import { isDeepStrictEqual } from 'node:util'
import { type ConfigInput, type LoadedConfig, loadConfig } from './load.ts'
import { type Config, SETTING_PATHS, type SettingPath, settingRow } from './settings.ts'

export interface ReloadReport {
  /** In effect now. */
  readonly applied: readonly SettingPath[]
  /** Changed on disk, in effect after the next start. */
  readonly restart: readonly SettingPath[]
}

/** Reads what a configuration names, such as files of keys, without using it yet; what it gives puts it in effect, and does not throw. */
export type Preparation = (next: Config) => Promise<() => void>

/** The configuration in effect. It changes only by `reload`, in one step, and only when the whole new one is valid. */
export interface ConfigHolder {
  readonly current: Config
  readonly loaded: LoadedConfig
  /** One after the other. @throws KithError `CONFIG_INVALID`, and what a preparation found wrong; nothing has changed then. */
  reload(): Promise<ReloadReport>
  /** Takes part in every reload, also when no setting changed: all prepare, and only then all take effect. Returns the way to stop. */
  onReload(prepare: Preparation): () => void
  /** Called after each swap with what changed; returns the way to stop. */
  onChange(listener: (config: Config, applied: readonly SettingPath[]) => void): () => void
}

export async function openConfig(input: ConfigInput): Promise<ConfigHolder> {
  let loaded = await loadConfig(input)
  let reloading: Promise<unknown> = Promise.resolve()
  const preparations = new Set<Preparation>()
  const listeners = new Set<(config: Config, applied: readonly SettingPath[]) => void>()
  const reload = async (): Promise<ReloadReport> => {
    const next = await loadConfig(input)
    const changed = SETTING_PATHS.filter((path) => !isDeepStrictEqual(loaded.values[path], next.values[path]))
    const applied = changed.filter((path) => settingRow(path).dynamic)
    const restart = changed.filter((path) => !settingRow(path).dynamic)
    const kept = Object.fromEntries(restart.map((path) => [path, loaded.values[path]]))
    const keptSources = Object.fromEntries(restart.map((path) => [path, loaded.sources[path]]))
    const wanted: LoadedConfig = { ...next, values: { ...next.values, ...kept }, sources: { ...next.sources, ...keptSources } }
    const commits: (() => void)[] = []
    for (const prepare of preparations) commits.push(await prepare(wanted.values))
    loaded = wanted
    for (const commit of commits) commit()
    if (applied.length > 0) for (const listener of listeners) listener(loaded.values, applied)
    return { applied, restart }
  }
  return {
    get current() {
      return loaded.values
    },
    get loaded() {
      return loaded
    },
    reload() {
      const done = reloading.then(reload)
      reloading = done.catch(() => undefined)
      return done
    },
    onReload(prepare) {
      preparations.add(prepare)
      return () => void preparations.delete(prepare)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
