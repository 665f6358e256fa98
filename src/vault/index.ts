export { deriveEthereum, deriveSecp256k1, deriveSecp256k1Node } from './bip32.ts'
export type { ExtendedKey } from './bip32-extended.ts'
export { extendedPublicKey, parseExtendedKey } from './bip32-extended.ts'
export type { PhraseLength } from './bip39.ts'
export { generatePhrase, parsePhrase, phraseOfEntropy, phraseToSeed, wordAt } from './bip39.ts'
export type { EncryptedData } from './encrypted-data.ts'
export { isEncryptedData, parseEncryptedData } from './encrypted-data.ts'
export type { IdentitySeeds } from './identity-seeds.ts'
export { deriveIdentitySeeds } from './identity-seeds.ts'
export type { DerivedKey, KeyType } from './key-cache.ts'
export type { PathClass, PathIndices } from './paths.ts'
export {
  BACKUP,
  ETHEREUM,
  encryptionKeyPath,
  IDENTITY,
  identityKeyPath,
  identityMldsaPath,
  parsePath,
  pathClass,
  SSH_HOST,
  sitePasswordPath,
  workerPath,
} from './paths.ts'
export { siteName } from './site-password.ts'
export { deriveEd25519, deriveNode } from './slip10.ts'
export { createVault, Vault } from './vault.ts'
export type { DerivationEvent, DeriveOptions, LockReason, SitePasswordOptions, UnlockOptions, VaultOptions, VaultStatus } from './vault-types.ts'
