export { type Clock, systemClock } from '../core/clock.ts'
export { Secret } from '../core/secret.ts'
export type { Signer } from '../core/signer.ts'
export { deriveEthereum, deriveSecp256k1, deriveSecp256k1Node } from './bip32.ts'
export type { ExtendedKey } from './bip32-extended.ts'
export { extendedPublicKey, parseExtendedKey } from './bip32-extended.ts'
export type { PhraseLength } from './bip39.ts'
export { generatePhrase, parsePhrase, phraseOfEntropy, phraseToSeed, wordAt } from './bip39.ts'
export type { CredentialFields } from './credentials/compose.ts'
export { composeCredential } from './credentials/compose.ts'
export type { ConfiguredCredential } from './credentials/config.ts'
export { configCredentials } from './credentials/config.ts'
export type { Credentials, CredentialsOptions, LeaseOptions } from './credentials/credentials.ts'
export { chained, createCredentials } from './credentials/credentials.ts'
export { inject } from './credentials/inject.ts'
export type { CredentialLease } from './credentials/lease.ts'
export type { Refresh, RefreshedToken } from './credentials/managed.ts'
export type { SignableRequest, SignedRequest, SigningKey, SigningScope } from './credentials/sigv4.ts'
export { bodyDigest, EMPTY_BODY_SHA256, presignRequest, signRequest, UNSIGNED_BODY } from './credentials/sigv4.ts'
export type { Credential, CredentialInfo, CredentialKey, CredentialProvider, CredentialType, OpenCredential, Sealing } from './credentials/types.ts'
export { wipeCredential } from './credentials/types.ts'
export { vaultSealing } from './credentials/vault-sealing.ts'
export type { EncryptedData } from './encrypted-data.ts'
export { isEncryptedData, parseEncryptedData } from './encrypted-data.ts'
export type { IdentitySeeds } from './identity-seeds.ts'
export { deriveIdentitySeeds } from './identity-seeds.ts'
export type { DerivedKey, KeyType } from './key-cache.ts'
export type { KeyLease, KeyLeaseEvent } from './key-lease.ts'
export { holdKey } from './key-lease.ts'
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
  SSH_USER,
  sitePasswordPath,
  TOKEN,
  workerPath,
} from './paths.ts'
export type { CutShares, SharesOptions } from './shares.ts'
export { combineShares, cutShares } from './shares.ts'
export { siteName } from './site-password.ts'
export { deriveEd25519, deriveNode } from './slip10.ts'
export { createVault, Vault } from './vault.ts'
export type { DerivationEvent, DeriveOptions, LockReason, SitePasswordOptions, UnlockOptions, VaultOptions, VaultStatus } from './vault-types.ts'
