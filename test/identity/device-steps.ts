import { systemRandom } from '../../src/core/random.ts'
import { joinIdentity, requestMachine } from '../../src/identity/device-add.ts'
import { approveMachine } from '../../src/identity/device-desk.ts'
import { isDeviceOnly } from '../../src/identity/device-home.ts'
import { readDeviceRequest } from '../../src/identity/device-request.ts'
import { openHome } from '../../src/identity/home.ts'
import { openDevice, openIdentity } from '../../src/identity/keystore.ts'
import { secret } from './temp.ts'

const NAME = 'phone'
const options = () => ({ passphrase: secret('right'), random: systemRandom, workFactor: 2 })

/** The request of the machine, as a person would carry it. */
async function ask(machine: string): Promise<Uint8Array> {
  await using home = await openHome(machine)
  return await requestMachine(home, { ...options(), name: NAME })
}

async function approve(owner: string, request: Uint8Array): Promise<Uint8Array> {
  await using home = await openHome(owner, { create: false })
  using identity = await openIdentity(home, options())
  using device = await openDevice(home, options())
  const own = { linkKey: device.linkSigner.publicKey, name: device.name }
  return (await approveMachine({ home, identity, own, now: Date.now() }, readDeviceRequest(request, Date.now()), { capabilities: 0n })).grant
}

async function join(machine: string, grant: Uint8Array): Promise<void> {
  await using home = await openHome(machine, { create: false })
  await joinIdentity(home, grant, options())
}

/** Asking, approving, joining; each takes what the one before gave, made again where it was lost. */
export function stepsOf(owner: string, machine: string): readonly (() => Promise<void>)[] {
  let request: Uint8Array | undefined
  let grant: Uint8Array | undefined
  return [
    async () => {
      request = await ask(machine)
    },
    async () => {
      grant = await approve(owner, request as Uint8Array)
    },
    async () => {
      await join(machine, grant as Uint8Array)
    },
  ]
}

/** Goes through the steps again; a machine that has joined already has nothing to ask. */
export async function finish(owner: string, machine: string): Promise<void> {
  {
    await using home = await openHome(machine)
    const { existsSync } = await import('node:fs')
    if ((await isDeviceOnly(home)) && !existsSync(`${machine}/pending.age`)) return
  }
  for (const step of stepsOf(owner, machine)) await step()
}
