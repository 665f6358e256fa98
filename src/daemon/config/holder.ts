import { isDeepStrictEqual } from 'node:util'
import { type ConfigInput, type LoadedConfig, loadConfig } from './load.ts'
import { type Config, SETTING_PATHS, type SettingPath, settingRow } from './settings.ts'

export interface ReloadReport {
  /** In effect now. */
  readonly applied: readonly SettingPath[]
  /** Changed on disk, in effect after the next start. */
  readonly restart: readonly SettingPath[]
}

/** The configuration in effect. It changes only by `reload`, in one step, and only when the whole new one is valid. */
export interface ConfigHolder {
  readonly current: Config
  readonly loaded: LoadedConfig
  /** @throws KithError `CONFIG_INVALID`; nothing has changed then. */
  reload(): Promise<ReloadReport>
  /** Called after each swap with what changed; returns the way to stop. */
  onChange(listener: (config: Config, applied: readonly SettingPath[]) => void): () => void
}

export async function openConfig(input: ConfigInput): Promise<ConfigHolder> {
  let loaded = await loadConfig(input)
  const listeners = new Set<(config: Config, applied: readonly SettingPath[]) => void>()
  return {
    get current() {
      return loaded.values
    },
    get loaded() {
      return loaded
    },
    async reload() {
      const next = await loadConfig(input)
      const changed = SETTING_PATHS.filter((path) => !isDeepStrictEqual(loaded.values[path], next.values[path]))
      const applied = changed.filter((path) => settingRow(path).dynamic)
      const restart = changed.filter((path) => !settingRow(path).dynamic)
      const kept = Object.fromEntries(restart.map((path) => [path, loaded.values[path]]))
      const keptSources = Object.fromEntries(restart.map((path) => [path, loaded.sources[path]]))
      loaded = { ...next, values: { ...next.values, ...kept }, sources: { ...next.sources, ...keptSources } }
      if (applied.length > 0) for (const listener of listeners) listener(loaded.values, applied)
      return { applied, restart }
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
