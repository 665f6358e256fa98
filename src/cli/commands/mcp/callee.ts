import type { Caller } from '../../../access/types.ts'
import type { Callee } from '../../../call/types.ts'
import { KithError } from '../../../core/errors.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import type { Asked } from '../../../gateway/mcp/tools.ts'

/** The daemon's calls, asked for over the control interface. Who the caller is, the daemon decides by the key; here it is only a name to pass along. */
export function controlCallee(client: ControlClient, key: string | undefined): { readonly callee: Callee; readonly asked: Asked } {
  const as = key === undefined ? {} : { key }
  const caller: Caller = { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }
  const callee: Callee = {
    call: async ({ path, input, signal }) => (await client.call('POST /v1/tools/call', { ...as, path, input }, signal === undefined ? {} : { signal })).value,
    stream: () => {
      throw new KithError('UNSUPPORTED', 'A subscription is no tool.')
    },
    list: async () => (await client.call('POST /v1/tools/list', as)).operations,
    describe: async (path) => (await client.call('POST /v1/tools/describe', { ...as, path })).operation ?? undefined,
    onChange: () => () => undefined,
  }
  return { callee, asked: { caller } }
}
