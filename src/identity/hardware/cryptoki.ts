/**
 * The part of Cryptoki (PKCS#11 3.0) that is used here, as `pkcs11js` 2 offers it. All calls are synchronous. Written down so that the package need not be
 * installed to build kith; numbers are those of the standard's `pkcs11t.h`.
 */
export interface Cryptoki {
  load(path: string): void
  C_Initialize(): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): Buffer[]
  C_GetTokenInfo(slot: Buffer): CryptokiTokenInfo
  C_GetMechanismInfo(slot: Buffer, mechanism: number): { readonly flags: number }
  C_OpenSession(slot: Buffer, flags: number): Buffer
  C_CloseSession(session: Buffer): void
  C_Login(session: Buffer, user: number, pin?: string): void
  C_Logout(session: Buffer): void
  C_FindObjectsInit(session: Buffer, template: readonly Attribute[]): void
  C_FindObjects(session: Buffer, limit: number): Buffer[]
  C_FindObjectsFinal(session: Buffer): void
  C_GetAttributeValue(session: Buffer, object: Buffer, template: readonly { readonly type: number }[]): { readonly type: number; readonly value: Buffer }[]
  C_GenerateKeyPair(
    session: Buffer,
    mechanism: { readonly mechanism: number },
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { readonly publicKey: Buffer; readonly privateKey: Buffer }
  C_SignInit(session: Buffer, mechanism: { readonly mechanism: number }, key: Buffer): void
  C_Sign(session: Buffer, message: Buffer, signature: Buffer): Buffer
}

export interface Attribute {
  readonly type: number
  readonly value: number | boolean | string | Buffer
}

export interface CryptokiTokenInfo {
  /** Padded with spaces to 32, 32, 16 and 16 characters. */
  readonly label: string
  readonly manufacturerID: string
  readonly model: string
  readonly serialNumber: string
  readonly flags: number
}

export const CKU_USER = 1
export const CKF_RW_SESSION = 0x2
export const CKF_SERIAL_SESSION = 0x4
/** Of a mechanism: done by a device, not by software. */
export const CKF_HW = 0x1

/** Of a token. */
export const CKF_LOGIN_REQUIRED = 0x4
export const CKF_PROTECTED_AUTHENTICATION_PATH = 0x100
export const CKF_TOKEN_INITIALIZED = 0x400
export const CKF_USER_PIN_FINAL_TRY = 0x20000
export const CKF_USER_PIN_LOCKED = 0x40000

export const CKO_PUBLIC_KEY = 2
export const CKO_PRIVATE_KEY = 3
export const CKK_EC_EDWARDS = 0x40
export const CKM_EC_EDWARDS_KEY_PAIR_GEN = 0x1055
export const CKM_EDDSA = 0x1057

export const CKA_CLASS = 0x0
export const CKA_TOKEN = 0x1
export const CKA_PRIVATE = 0x2
export const CKA_LABEL = 0x3
export const CKA_KEY_TYPE = 0x100
export const CKA_ID = 0x102
export const CKA_SENSITIVE = 0x103
export const CKA_SIGN = 0x108
export const CKA_VERIFY = 0x10a
export const CKA_EXTRACTABLE = 0x162
export const CKA_LOCAL = 0x163
export const CKA_NEVER_EXTRACTABLE = 0x164
export const CKA_ALWAYS_SENSITIVE = 0x165
export const CKA_EC_PARAMS = 0x180
export const CKA_EC_POINT = 0x181

export const CKR_DEVICE_REMOVED = 0x32
export const CKR_PIN_INCORRECT = 0xa0
export const CKR_PIN_INVALID = 0xa1
export const CKR_PIN_LEN_RANGE = 0xa2
export const CKR_PIN_EXPIRED = 0xa3
export const CKR_PIN_LOCKED = 0xa4
export const CKR_SLOT_ID_INVALID = 0x3
export const CKR_OBJECT_HANDLE_INVALID = 0x82
export const CKR_KEY_HANDLE_INVALID = 0x60
export const CKR_MECHANISM_INVALID = 0x70
export const CKR_SESSION_CLOSED = 0xb0
export const CKR_SESSION_HANDLE_INVALID = 0xb3
export const CKR_TOKEN_NOT_PRESENT = 0xe0
export const CKR_TOKEN_NOT_RECOGNIZED = 0xe1
export const CKR_USER_ALREADY_LOGGED_IN = 0x100
export const CKR_USER_NOT_LOGGED_IN = 0x101
export const CKR_USER_PIN_NOT_INITIALIZED = 0x102
export const CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191

/** OID 1.3.101.112, DER: Ed25519 (RFC 8410). */
export const ED25519_PARAMS: Buffer = Buffer.from('06032b6570', 'hex')

/** The return value a call failed with; `undefined` when it was not Cryptoki that failed. */
export function returnValue(error: unknown): number | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'number' && code !== 0 ? code : undefined
}
