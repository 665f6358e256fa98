// Run by kill.test.ts: saves the device and rotates the link key over and over, telling before each save, until it is killed.
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { randomKeySeeds } from '../../src/identity/keys.ts'
import { openKeystore, renewBinding, rotateDeviceKey, rotateIdentity } from '../../src/identity/keystore.ts'

const options = { passphrase: Secret.take(Buffer.from('right')), random: systemRandom, workFactor: 2 }
const keystore = await openKeystore(process.argv[2] as string, options)
let { identity, device } = keystore
process.on('disconnect', () => process.exit())
for (let save = 0; ; save++) {
  process.send?.(save)
  if (save % 4 === 3)
    identity = (await rotateIdentity(keystore.home, device, identity, { ...options, reason: 'lost', next: randomKeySeeds(systemRandom) })).identity
  else if (save % 2 === 1) device = await rotateDeviceKey(keystore.home, device, identity, options)
  else await renewBinding(keystore.home, device, identity, options)
}
