import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { Tokens } from '../../src/identity/hardware/tokens.ts'
import { signerCompliance } from './signer-compliance.ts'
import { PIN, softHsm } from './softhsm.ts'

signerCompliance('key in memory', async () => ({
  place: 'memory',
  open: () => createSigner('identity', Secret.take(Buffer.alloc(32, 7))),
}))

const hsm = await softHsm()
if (typeof hsm !== 'string') {
  hsm.addToken('compliance')
  process.on('exit', () => hsm.close())
}

signerCompliance('key in SoftHSM', async (t) => {
  if (typeof hsm === 'string') return hsm
  const tokens = new Tokens({ load: hsm.load, module: hsm.module, environment: { ICN_TOKEN_PIN: PIN } })
  t.after(() => tokens.close())
  const { key } = tokens.ensure('pkcs11:token=compliance;object=signer')
  return { place: 'token', open: () => tokens.open(key) }
})
