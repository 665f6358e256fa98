import { isKithError } from '../../../core/errors.ts'
import { list as listFiles } from '../../../daemon/devices/offline.ts'
import type { DeviceView } from '../../../daemon/devices/views.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, table } from '../../style.ts'

export const list: CommandHandler = async (context) => {
  const found = await machines(context)
  const { devices, holds_identity } = found
  context.output.result(
    found,
    (palette) => [
      ...table([
        ['machine', 'link key', 'may', 'valid until', 'last here', ''].map((text) => ({ text, style: palette.quiet })),
        ...devices.map((device) => [
          { text: harmless(device.name), style: device.status === 'active' ? palette.strong : palette.quiet },
          device.link_key,
          device.status === 'active' ? device.capabilities.join(' ') : '',
          device.status === 'active' ? (device.expires_at?.slice(0, 10) ?? '') : '',
          device.linked ? 'linked' : (device.last_seen?.slice(0, 10) ?? ''),
          remark(device),
        ]),
      ]),
      ...(holds_identity ? [] : [palette.quiet('the keys of this identity are on another machine')]),
    ],
    devices.map(({ link_key }) => link_key).join('\n'),
  )
  return undefined
}

function remark({ self, status, since, waiting }: DeviceView): string {
  if (status !== 'active') return `revoked ${since?.slice(0, 10) ?? ''}: ${status}`
  return self ? 'this one' : waiting ? 'waits for a new binding' : ''
}

async function machines(context: CommandContext): Promise<{ readonly devices: readonly DeviceView[]; readonly holds_identity: boolean }> {
  try {
    return await (await context.daemon()).call('GET /v1/devices', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  }
  return await listFiles(context.home)
}
