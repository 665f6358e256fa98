import type { Config } from '../config/settings.ts'
import type { KeySettings } from './schedule.ts'

export function keySettings(config: Config): KeySettings {
  return {
    rotateAfterDays: config['identity.rotate_after_days'],
    rotateUnattended: config['identity.rotate_unattended'],
    linkKeyDays: config['identity.link_key_days'],
  }
}
