export type { BindingIssuer, BindingOptions, VerifyBindingOptions } from './binding.ts'
export { bindingDates, checkBinding, createBinding, decodeBinding, isName, verifyBinding } from './binding.ts'
export { nextBoot } from './boot.ts'
export type { Adoption, AdoptOptions, AdoptOutcome } from './chain.ts'
export { adoptChain, anchorChain, chainTail, repinChain, settleChain } from './chain.ts'
export { decodeChain, encodeChain } from './chain-codec.ts'
export type { InceptionOptions, RecoveryOptions, RotationOptions } from './chain-make.ts'
export { createInception, createRecovery, createRotation } from './chain-make.ts'
export type { RecoveryRequest } from './chain-recovery.ts'
export { attestRecovery } from './chain-recovery.ts'
export { decodeChainState, encodeChainState } from './chain-store.ts'
export { LocalDevice } from './device.ts'
export type { Did } from './did.ts'
export { didPublicKey, formatDid, formatDidKey, isDid, parseDid, shortDid } from './did.ts'
export type { DidDocument, DocumentSource, VerificationMethod } from './document.ts'
export { didDocument } from './document.ts'
export { Tokens, type TokensOptions } from './hardware/tokens.ts'
export type { Home, HomePaths, OpenHomeOptions } from './home.ts'
export { homePaths, openHome } from './home.ts'
export { IdentityKeys } from './identity-keys.ts'
export type { KeySeeds, SoftwareSeeds, TokenKey, TokenOpener } from './keys.ts'
export { commitNext, publicKeysOf, randomKeySeeds } from './keys.ts'
export type { CreateKeystoreOptions, KeystoreOptions, NewIdentity, RotateIdentityOptions } from './keystore.ts'
export {
  createKeystore,
  hasIdentity,
  Keystore,
  openDevice,
  openIdentity,
  openKeystore,
  renewBinding,
  rotateDeviceKey,
  rotateIdentity,
} from './keystore.ts'
export { keyFileIntact } from './keystore-file.ts'
export type { Passphrase, PassphraseOptions, PassphraseSource } from './passphrase.ts'
export {
  forgetStatePassphrase,
  keepStatePassphrase,
  readPassphraseFile,
  resolvePassphrase,
  statePassphrasePath,
  takeEnvironmentPassphrase,
} from './passphrase.ts'
export type {
  Binding,
  ChainEntry,
  ChainFork,
  ChainKind,
  ChainReason,
  ChainState,
  ChainStatus,
  Device,
  KeySet,
  KeySetSignature,
  PendingRecovery,
  RecoveryAttestation,
  RecoveryPolicy,
} from './types.ts'
