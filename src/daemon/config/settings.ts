import { LIMIT_ROWS, type LimitPath, type LimitValues } from './limits.ts'
import { ACCESS, type AccessSettings } from './sections/access.ts'
import { FRONT, type FrontSettings } from './sections/front.ts'
import { GATEWAY, type GatewaySettings } from './sections/gateway.ts'
import { KEYS, type KeySettings } from './sections/keys.ts'
import { LINKS, type LinkSettings } from './sections/links.ts'
import { PROCESS, type ProcessSettings } from './sections/process.ts'
import { SERVICES, type ServiceSettings } from './sections/services.ts'
import { SSH, type SshSettings } from './sections/ssh.ts'
import { TUNNELS, type TunnelSettings } from './sections/tunnels.ts'
import { type Section, type Setting, setting } from './setting.ts'
import { whole } from './values.ts'

/** All settings by their path, each with the type of its value. */
export interface Config
  extends LinkSettings,
    ServiceSettings,
    TunnelSettings,
    KeySettings,
    FrontSettings,
    GatewaySettings,
    AccessSettings,
    SshSettings,
    ProcessSettings,
    LimitValues {}

export type SettingPath = keyof Config

/** The one table of settings, in the order in which they are shown. */
export const SETTINGS: Section<Config> = {
  ...LINKS,
  ...SERVICES,
  ...TUNNELS,
  ...KEYS,
  ...FRONT,
  ...GATEWAY,
  ...ACCESS,
  ...SSH,
  ...PROCESS,
  ...limitSettings(),
}

function limitSettings(): Section<LimitValues> {
  const rows = LIMIT_ROWS.map(({ path, fallback, range, about }) => [path, setting({ schema: whole(...range), fallback, dynamic: true, about })] as const)
  return Object.fromEntries(rows) as { readonly [P in LimitPath]: Setting<number> }
}

export const SETTING_PATHS: readonly SettingPath[] = Object.keys(SETTINGS) as SettingPath[]

export function isSettingPath(path: string): path is SettingPath {
  return Object.hasOwn(SETTINGS, path)
}

/** `link.require_pq` is `KITH_LINK_REQUIRE_PQ` in the environment. */
export function environmentName(path: SettingPath): string {
  return `KITH_${path.toUpperCase().replaceAll('.', '_')}`
}

/** The row of a path with its type forgotten: for code that treats all settings alike. */
export function settingRow(path: SettingPath): Setting<unknown> {
  return SETTINGS[path] as unknown as Setting<unknown>
}
