import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import type { ServerChannel } from 'ssh2'
import type { Caller } from '../../src/access/types.ts'
import { KithError } from '../../src/core/errors.ts'
import { runExec } from '../../src/ssh/exec.ts'

const caller: Caller = { id: 'ssh:SHA256:x', via: 'ssh-key', scopes: new Set(), resources: new Map() }
const callee = {
  call: () => Promise.reject(new KithError('VAULT_LOCKED', undefined, { next: 'kith vault unlock' })),
  describe: () => Promise.resolve(undefined),
} as never

test('a command by SSH that fails, names what to do next', async () => {
  const told = async (line: string, known: boolean): Promise<unknown> => {
    const stderr = new PassThrough()
    const channel = { stderr } as unknown as ServerChannel
    await runExec(line, channel, { callee: known ? callee : undefined, caller, signal: new AbortController().signal })
    const { code, next } = JSON.parse(String(stderr.read())).error
    return [code, next]
  }
  assert.deepEqual(await told('rm -rf /', true), ['USAGE', 'ssh NODE help'])
  assert.deepEqual(await told('call notes/add', false), ['CALL_UNKNOWN', 'ssh NODE ops'])
  assert.deepEqual(await told('call notes/add {', true), ['CALL_INPUT', 'ssh NODE ops'])
  assert.deepEqual(await told('call notes/add', true), ['VAULT_LOCKED', 'kith vault unlock'])
})
