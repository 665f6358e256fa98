/**
 * The one table of error codes: the closed union `ErrorCode`, its numbers on the wire (never reused, never changed), the exit status of the
 * command line, whether trying again can help, and the sentence of `docs/errors.md`. A test holds table, documentation and thrown codes together.
 */
export interface ErrorRow {
  readonly number: number
  readonly exit: 1 | 2 | 3 | 4 | 5
  readonly retry: boolean
  readonly meaning: string
}

export const ERROR_TABLE = {
  // core: 1..
  INTERNAL: { number: 1, exit: 1, retry: false, meaning: 'Something failed that should not; this is a defect of kith.' },
  REMOTE_ERROR: { number: 2, exit: 1, retry: false, meaning: 'The other side failed with a code this version does not know.' },
  WIRE_MALFORMED: { number: 3, exit: 1, retry: false, meaning: 'Bytes are not the one canonical encoding of what was expected.' },
  ABORTED: { number: 4, exit: 1, retry: false, meaning: 'The caller gave up waiting.' },
  TIMEOUT: { number: 5, exit: 5, retry: true, meaning: 'The operation did not finish within its deadline.' },
  CLOSED: { number: 6, exit: 1, retry: false, meaning: 'The object was closed before or during the operation.' },
  UNSUPPORTED: { number: 7, exit: 1, retry: false, meaning: 'This platform or build does not offer what was asked for.' },
  STORE_FAILED: { number: 8, exit: 1, retry: false, meaning: 'The store could not read or write.' },
  STORE_LOCKED: { number: 9, exit: 1, retry: true, meaning: 'Another process holds the store.' },

  // keys, identity, vault: 100..
  KEY_INVALID: { number: 100, exit: 1, retry: false, meaning: 'Bytes are not a valid Ed25519 public key.' },
  SIGNATURE_INVALID: { number: 101, exit: 1, retry: false, meaning: 'A signature does not verify.' },
  SIGNER_REFUSED: { number: 102, exit: 1, retry: false, meaning: 'The signer was made for another role and refuses this message.' },
  SECRET_WIPED: { number: 103, exit: 1, retry: false, meaning: 'The secret was wiped and cannot be used any more.' },
  DECRYPT_FAILED: { number: 104, exit: 1, retry: false, meaning: 'The ciphertext does not open with this key.' },
  DID_INVALID: { number: 110, exit: 1, retry: false, meaning: 'The text is not a canonical did:icn identifier.' },
  CHAIN_INVALID: { number: 111, exit: 1, retry: false, meaning: 'An identity chain does not verify.' },
  CHAIN_STALE: { number: 112, exit: 1, retry: true, meaning: 'The identity chain is older than the one already known.' },
  CHAIN_FORKED: { number: 113, exit: 1, retry: false, meaning: 'Two valid identity chains contradict each other; a person must decide.' },
  BINDING_INVALID: { number: 114, exit: 1, retry: false, meaning: 'The binding of device to identity does not verify.' },
  BINDING_EXPIRED: { number: 115, exit: 1, retry: true, meaning: 'The binding of device to identity has run out.' },
  KEYS_OLD: { number: 117, exit: 1, retry: false, meaning: 'The keys of the identity are older than its owner wants them to become.' },
  BINDING_STALE: { number: 116, exit: 1, retry: true, meaning: 'The binding is older than one already seen for this device.' },
  IDENTITY_MISSING: { number: 120, exit: 3, retry: false, meaning: 'There is no identity in this home.' },
  IDENTITY_LOCKED: { number: 121, exit: 1, retry: false, meaning: 'The identity is locked and this needs it.' },
  IDENTITY_EXISTS: { number: 122, exit: 1, retry: false, meaning: 'This home already holds an identity.' },
  PASSPHRASE_REQUIRED: { number: 123, exit: 1, retry: false, meaning: 'A passphrase is needed and none was given.' },
  PASSPHRASE_WRONG: { number: 124, exit: 1, retry: false, meaning: 'The passphrase does not open the keystore.' },
  KEYSTORE_DAMAGED: { number: 125, exit: 1, retry: false, meaning: 'The keystore file is damaged.' },
  KEYSTORE_UNSUPPORTED: { number: 126, exit: 1, retry: false, meaning: 'The keystore file is of a version or cost this build does not open.' },
  HOME_IN_USE: { number: 127, exit: 1, retry: false, meaning: 'Another process uses this home.' },
  HOME_UNSAFE: { number: 128, exit: 1, retry: false, meaning: 'The home directory or a file in it is open to other users.' },
  PHRASE_INVALID: { number: 130, exit: 1, retry: false, meaning: 'The recovery phrase is not valid.' },
  PATH_INVALID: { number: 131, exit: 1, retry: false, meaning: 'The derivation path is malformed.' },
  VAULT_LOCKED: { number: 132, exit: 1, retry: false, meaning: 'The vault is locked.' },
  VAULT_UNLOCKED: { number: 160, exit: 1, retry: false, meaning: 'The vault is unlocked already.' },
  VAULT_MISSING: { number: 161, exit: 1, retry: false, meaning: 'There is no vault of this name in this home.' },
  VAULT_EXISTS: { number: 162, exit: 1, retry: false, meaning: 'There is a vault of this name in this home already.' },
  KEYSTORE_NOT_SAVED: { number: 133, exit: 1, retry: true, meaning: 'A key file could not be written, or not proven to open; the one before stands.' },
  EXPORT_INVALID: { number: 134, exit: 1, retry: false, meaning: 'The file opens, and is not an exported identity.' },
  PHRASE_OTHER: { number: 135, exit: 1, retry: false, meaning: 'The phrase does not give the present keys of that identity.' },
  CREDENTIAL_INVALID: { number: 170, exit: 1, retry: false, meaning: 'The credential is not of the form its kind has.' },
  CREDENTIAL_UNKNOWN: { number: 171, exit: 1, retry: false, meaning: 'There is no credential for this service.' },
  CREDENTIAL_EXPIRED: { number: 172, exit: 1, retry: true, meaning: 'The credential, or the time for which it was handed out, has run out.' },
  CREDENTIAL_REFRESH_FAILED: { number: 173, exit: 1, retry: true, meaning: 'The credential could not be renewed for now.' },
  CREDENTIAL_REFUSED: { number: 174, exit: 1, retry: false, meaning: 'Who issued the credential does not renew it any more.' },
  CREDENTIAL_ORIGIN: { number: 175, exit: 4, retry: false, meaning: 'The credential is not for this address.' },
  SHARE_DAMAGED: { number: 176, exit: 1, retry: false, meaning: 'A share of the recovery phrase is mistyped or damaged.' },
  SHARES_MIXED: { number: 177, exit: 1, retry: false, meaning: 'The shares do not belong to one set.' },
  SHARES_TOO_FEW: { number: 178, exit: 1, retry: false, meaning: 'There are fewer shares than the set needs.' },
  SHARES_WRONG: { number: 179, exit: 1, retry: false, meaning: 'The shares do not give a phrase back: at least one of them is not genuine.' },
  TOKEN_UNAVAILABLE: { number: 140, exit: 1, retry: true, meaning: 'The hardware token that holds the key is not there, or cannot be used from here.' },
  TOKEN_PIN_REQUIRED: { number: 141, exit: 1, retry: false, meaning: 'The hardware token asks for a PIN and none was given.' },
  TOKEN_PIN_WRONG: { number: 142, exit: 1, retry: false, meaning: 'The PIN of the hardware token is wrong.' },
  TOKEN_PIN_LOCKED: { number: 143, exit: 1, retry: false, meaning: 'The hardware token has locked its PIN after wrong ones.' },
  TOKEN_KEY_MISSING: { number: 144, exit: 1, retry: false, meaning: 'The hardware token does not hold the key that was asked for, or not that one alone.' },
  TOKEN_FAILED: { number: 145, exit: 1, retry: true, meaning: 'The hardware token refused or failed at what it was asked to do.' },
  SEAL_UNAVAILABLE: { number: 146, exit: 1, retry: true, meaning: 'The TPM or keyring that keeps the passphrase is not there, or cannot be used from here.' },
  SEAL_BROKEN: { number: 147, exit: 1, retry: false, meaning: 'The TPM does not give the passphrase away any more: what this machine boots has changed.' },
  SEAL_INVALID: { number: 148, exit: 1, retry: false, meaning: 'What was sealed is damaged or of another home.' },
  TOKEN_KEY_UNSAFE: {
    number: 149,
    exit: 1,
    retry: false,
    meaning: 'The key in the hardware token could be read out, or is not one for Ed25519 signatures; it is not taken.',
  },
  DEVICE_DOCUMENT_INVALID: { number: 150, exit: 1, retry: false, meaning: 'A device document does not verify.' },
  DEVICE_REQUEST_INVALID: { number: 151, exit: 1, retry: false, meaning: 'The request of a machine is damaged, not signed by it, or too old.' },
  DEVICE_GRANT_INVALID: { number: 152, exit: 1, retry: false, meaning: 'The grant is damaged or was made for another machine.' },
  DEVICE_NOT_ALLOWED: { number: 153, exit: 4, retry: false, meaning: 'The identity does not let this machine do that.' },
  RENEWAL_WAITING: { number: 154, exit: 1, retry: true, meaning: 'The machine that holds the identity will renew once its owner allows it.' },
  BACKUP_INVALID: { number: 180, exit: 1, retry: false, meaning: 'The file is not a backup of kith, or not put together as one.' },
  BACKUP_KEY_WRONG: { number: 181, exit: 1, retry: false, meaning: 'The key or passphrase does not open the backup.' },
  BACKUP_TRUNCATED: { number: 182, exit: 1, retry: false, meaning: 'The backup ends before its end.' },
  BACKUP_DAMAGED: { number: 183, exit: 1, retry: false, meaning: 'Bytes of the backup changed since it was written.' },
  BACKUP_TRAILING: { number: 184, exit: 1, retry: false, meaning: 'There are bytes behind the end of the backup.' },
  BACKUP_UNSUPPORTED: { number: 185, exit: 1, retry: false, meaning: 'The backup has a format that this version does not read.' },
  BACKUP_ROLLBACK: { number: 186, exit: 1, retry: false, meaning: 'A newer backup of this node is known than the one to be restored.' },
  BACKUP_UNSAFE: { number: 187, exit: 1, retry: false, meaning: 'The backup holds a name that must not be written.' },
  BACKUP_FORGED: { number: 188, exit: 1, retry: false, meaning: 'No machine of the identity vouches for the backup.' },
  HOME_NOT_EMPTY: { number: 189, exit: 1, retry: false, meaning: 'Something is in the home already.' },

  // stream: 200..
  HANDSHAKE_FAILED: { number: 200, exit: 1, retry: true, meaning: 'The handshake failed.' },
  HANDSHAKE_TIMEOUT: { number: 201, exit: 5, retry: true, meaning: 'The handshake did not finish within its deadline.' },
  HANDSHAKE_TIMESTAMP: { number: 202, exit: 1, retry: true, meaning: 'The clocks of the two sides are too far apart.' },
  PEER_REJECTED: { number: 203, exit: 4, retry: false, meaning: 'The peer’s key was not admitted.' },
  SELF_DIAL: { number: 204, exit: 1, retry: false, meaning: 'A node does not connect to itself.' },
  FRAME_TOO_LARGE: { number: 205, exit: 1, retry: false, meaning: 'A frame is larger than its limit.' },
  MESSAGE_TOO_LARGE: { number: 206, exit: 1, retry: false, meaning: 'The message is larger than the agreed limit.' },
  STREAM_CORRUPT: { number: 207, exit: 1, retry: true, meaning: 'The encrypted stream was corrupted or tampered with.' },
  LINK_PQ_FAILED: { number: 208, exit: 1, retry: true, meaning: 'The post-quantum step of the link failed.' },

  // transport: 300..
  ADDRESS_INVALID: { number: 300, exit: 1, retry: false, meaning: 'The address is not a valid URL of a known transport.' },
  ADDRESS_IN_USE: { number: 301, exit: 1, retry: false, meaning: 'The address is already in use on this machine.' },
  ADDRESS_UNREACHABLE: { number: 302, exit: 1, retry: true, meaning: 'The address could not be reached.' },
  SCHEME_UNAVAILABLE: { number: 303, exit: 1, retry: false, meaning: 'The transport is not available on this machine.' },
  LINK_LOST: { number: 310, exit: 1, retry: true, meaning: 'The connection was lost.' },
  LINK_CLOSED: { number: 311, exit: 1, retry: true, meaning: 'The connection was closed.' },
  LINK_IDLE: { number: 312, exit: 1, retry: true, meaning: 'The connection was idle too long.' },
  STREAM_RESET: { number: 313, exit: 1, retry: true, meaning: 'The stream was reset.' },
  STREAM_REFUSED: { number: 314, exit: 4, retry: false, meaning: 'The stream was refused.' },
  MUX_PROTOCOL: { number: 315, exit: 1, retry: false, meaning: 'The peer broke the rules of the multiplexer.' },
  MUX_LIMIT: { number: 316, exit: 1, retry: false, meaning: 'A limit of the multiplexer was exceeded.' },
  WRONG_KEY: { number: 317, exit: 1, retry: false, meaning: 'Another machine answered than the one expected.' },
  GOING_AWAY: { number: 318, exit: 1, retry: true, meaning: 'The other side is shutting down.' },

  // mesh: 400..
  HELLO_REFUSED: { number: 400, exit: 4, retry: false, meaning: 'The greeting was refused.' },
  HELLO_INVALID: { number: 401, exit: 1, retry: false, meaning: 'The greeting does not verify.' },
  VERSION_UNSUPPORTED: { number: 402, exit: 1, retry: false, meaning: 'The two nodes share no protocol version.' },
  WRONG_PEER: { number: 403, exit: 1, retry: false, meaning: 'Another identity answered than the one expected.' },
  PROOF_INVALID: { number: 404, exit: 1, retry: false, meaning: 'The peer did not prove its keys over this connection.' },
  DEVICE_CLONED: { number: 405, exit: 1, retry: false, meaning: 'Two running nodes use the same device key.' },
  DEVICE_REVOKED: { number: 406, exit: 4, retry: false, meaning: 'The device was revoked by its identity.' },
  DUPLICATE: { number: 407, exit: 1, retry: true, meaning: 'There are too many connections between these two machines.' },
  LINK_MOVED: { number: 408, exit: 1, retry: true, meaning: 'The link moved to another connection; try again.' },
  PEER_UNKNOWN: { number: 409, exit: 1, retry: false, meaning: 'No peer of this name or prefix is known.' },
  PEER_AMBIGUOUS: { number: 410, exit: 1, retry: false, meaning: 'More than one peer matches.' },
  PEER_UNREACHABLE: { number: 411, exit: 1, retry: true, meaning: 'None of the peer’s known addresses answered.' },
  PROTOCOL_UNKNOWN: { number: 412, exit: 1, retry: false, meaning: 'The other side does not offer this protocol.' },
  POLICY_DENIED: { number: 413, exit: 4, retry: false, meaning: 'The policy of the other side does not allow this.' },
  BUDGET_EXCEEDED: { number: 414, exit: 1, retry: true, meaning: 'The limit for this kind of peer is used up.' },
  LOCATE_FAILED: { number: 415, exit: 1, retry: true, meaning: 'The machine at this address does not answer for that identity.' },
  INVITE_INVALID: { number: 420, exit: 1, retry: false, meaning: 'The ticket is not valid.' },
  INVITE_REFUSED: { number: 421, exit: 4, retry: false, meaning: 'The ticket is unknown, expired or used up.' },
  CONFIRM_NOTHING: { number: 422, exit: 1, retry: false, meaning: 'There is nothing to confirm for this peer.' },
  BANNED: { number: 423, exit: 4, retry: false, meaning: 'The peer is banned here for a while.' },
  DOWNGRADE_REFUSED: { number: 424, exit: 4, retry: false, meaning: 'The peer has used post-quantum keys before and now comes without.' },

  // messages: 430..
  DEVICE_UNKNOWN: { number: 430, exit: 1, retry: true, meaning: 'The papers of the device that signed were never seen here, or not the newest.' },
  NOT_FOR_US: { number: 431, exit: 1, retry: false, meaning: 'The message is addressed to somebody else.' },
  MESSAGE_EXPIRED: { number: 432, exit: 1, retry: false, meaning: 'The message came after its expiry.' },
  MESSAGE_STALE: { number: 433, exit: 1, retry: false, meaning: 'The message is too old, by its date or its number, to be told from a repeated one.' },
  MESSAGE_EARLY: { number: 434, exit: 1, retry: true, meaning: 'The message is dated in the future.' },
  SESSION_UNKNOWN: { number: 435, exit: 1, retry: false, meaning: 'The message belongs to no link that its sender has or lately had with this node.' },
  SEQUENCE_INVALID: { number: 436, exit: 1, retry: false, meaning: 'The number of the message is zero or too far ahead.' },
  REPLAYED: { number: 437, exit: 1, retry: false, meaning: 'The message was accepted before.' },
  REPLAY_PENDING: { number: 438, exit: 1, retry: true, meaning: 'The same message is being taken in right now.' },
  REPLAY_FULL: {
    number: 439,
    exit: 1,
    retry: true,
    meaning: 'There is no room to remember one more message of this sender; nothing is forgotten to make room.',
  },
  RATE_LIMITED: { number: 440, exit: 1, retry: true, meaning: 'The sender’s budget of messages is used up for the moment.' },
  SUITE_REQUIRED: { number: 441, exit: 1, retry: false, meaning: 'Messages of this kind must be signed with post-quantum keys too.' },

  // sealed messages and mailboxes: 445..
  MAILBOX_REFUSED: { number: 445, exit: 4, retry: false, meaning: 'The other side keeps no messages for this identity.' },
  MAILBOX_FULL: { number: 446, exit: 1, retry: true, meaning: 'The mailbox has no room left for this sender or this owner.' },
  NEED_PREKEY: { number: 447, exit: 1, retry: true, meaning: 'The message was sealed to a key that is gone; a fresh one is needed.' },
  SEALED_INVALID: { number: 448, exit: 1, retry: false, meaning: 'The sealed message does not open, or is not what stands on its outside.' },
  OUTBOX_FULL: { number: 449, exit: 1, retry: true, meaning: 'Too many messages wait for their peers already.' },
  INBOX_FULL: { number: 450, exit: 1, retry: true, meaning: 'The message inbox has no room left for this sender.' },
  MAILBOX_TAKEN: { number: 451, exit: 1, retry: true, meaning: 'The mailbox keeps a message with this id from somebody else.' },

  // conduct: 460..
  EVIDENCE_INVALID: { number: 460, exit: 1, retry: false, meaning: 'The evidence does not prove what it says.' },

  // services: 500..
  FORWARD_DENIED: { number: 500, exit: 4, retry: false, meaning: 'The other side does not allow this forward.' },
  FORWARD_UNREACHABLE: { number: 501, exit: 1, retry: true, meaning: 'The target of the forward did not answer.' },
  FORWARD_TARGET: { number: 502, exit: 1, retry: false, meaning: 'The target of a forward is written HOST:PORT.' },
  FILE_DENIED: { number: 510, exit: 4, retry: false, meaning: 'The other side does not accept files from this node.' },
  FILE_QUOTA: { number: 511, exit: 1, retry: false, meaning: 'The inbox of the other side has no room for this file.' },
  FILE_NAME: { number: 512, exit: 1, retry: false, meaning: 'The file name is not one the other side can store safely.' },
  FILE_MISMATCH: { number: 513, exit: 1, retry: true, meaning: 'A part of the file does not match its digest.' },
  FILE_CHANGED: { number: 514, exit: 1, retry: false, meaning: 'The file changed while it was being sent.' },
  FILE_MISSING: { number: 515, exit: 1, retry: false, meaning: 'The file does not exist or cannot be read.' },
  FILE_EXISTS: { number: 516, exit: 1, retry: false, meaning: 'Something of that name is already there.' },

  // gossip: 520..
  TOPIC_UNKNOWN: { number: 520, exit: 1, retry: false, meaning: 'This node knows no topic of that name.' },
  TOPIC_DENIED: { number: 521, exit: 4, retry: false, meaning: 'The topic does not admit this node or peer.' },
  TOPIC_EXISTS: { number: 522, exit: 1, retry: false, meaning: 'The topic exists with other options.' },
  TOPIC_LIMIT: { number: 523, exit: 1, retry: false, meaning: 'This node holds as many topics as it may.' },
  TOPIC_RESERVED: { number: 524, exit: 1, retry: false, meaning: 'The name is kept for a purpose that this version does not serve.' },
  ENTRY_TOO_LARGE: { number: 525, exit: 1, retry: false, meaning: 'The entry is larger than a topic carries.' },

  // trust: 550..
  TRUST_FULL: { number: 550, exit: 1, retry: false, meaning: 'There is no room for another trust edge of one’s own.' },
  TRUST_RATE: { number: 551, exit: 1, retry: true, meaning: 'More trust statements in an hour than other nodes accept.' },

  // blobs: 560..
  BLOB_UNKNOWN: { number: 560, exit: 1, retry: false, meaning: 'The peer does not have this blob, or not for this node.' },
  BLOB_CHANGED: { number: 561, exit: 1, retry: false, meaning: 'The content changed since it was offered.' },
  BLOB_MISMATCH: { number: 562, exit: 1, retry: true, meaning: 'A part of the blob does not match its hash.' },
  BLOB_UNAVAILABLE: { number: 563, exit: 1, retry: true, meaning: 'No peer delivers the rest of the blob.' },
  BLOB_GRANT_INVALID: { number: 564, exit: 1, retry: false, meaning: 'The permission to fetch this blob is not valid.' },

  // recovery: 570..
  RECOVERY_INVALID: { number: 570, exit: 1, retry: false, meaning: 'A recovery, an attestation or the end of one does not verify.' },
  RECOVERY_NO_POLICY: { number: 571, exit: 1, retry: false, meaning: 'The owner of this identity has fixed no trustees.' },
  RECOVERY_UNKNOWN: { number: 572, exit: 1, retry: false, meaning: 'No such recovery is known here.' },
  RECOVERY_CONFLICT: { number: 573, exit: 1, retry: false, meaning: 'Another recovery of the same identity was attested here already.' },
  RECOVERY_NOT_TRUSTEE: { number: 574, exit: 4, retry: false, meaning: 'The owner has not made this identity a trustee.' },
  RECOVERY_WORDS: { number: 575, exit: 1, retry: false, meaning: 'The words are not those of this recovery.' },
  RECOVERY_WAITING: { number: 576, exit: 1, retry: true, meaning: 'The recovery is not attested by enough trustees, or its delay is not over.' },
  RECOVERY_OVER: { number: 577, exit: 1, retry: false, meaning: 'The recovery was ended, overtaken or is too old.' },
  RECOVERY_PENDING: { number: 578, exit: 1, retry: false, meaning: 'Somebody asks to give this identity new keys.' },
  RECOVERY_CHAIN: { number: 579, exit: 1, retry: true, meaning: 'The history of that identity is not known here yet.' },

  // calls: 620..
  CALL_UNKNOWN: { number: 620, exit: 1, retry: false, meaning: 'There is no such operation, or none that you may know of.' },
  CALL_DENIED: { number: 621, exit: 4, retry: false, meaning: 'The caller may not call this operation.' },
  CALL_INPUT: { number: 622, exit: 2, retry: false, meaning: 'The input does not fit the schema of the operation.' },
  CALL_TIMEOUT: { number: 623, exit: 5, retry: true, meaning: 'The call did not end within its deadline.' },
  CALL_FAILED: { number: 624, exit: 1, retry: false, meaning: 'The operation failed.' },
  WORKER_LOST: { number: 625, exit: 1, retry: true, meaning: 'The machine that ran the call is gone; whether it was carried out is not known.' },
  WORKER_CONFLICT: { number: 633, exit: 1, retry: false, meaning: 'Another machine is registered under that alias.' },
  WORKER_DENIED: { number: 634, exit: 4, retry: false, meaning: 'The head does not take these operations from this machine.' },
  WORKER_DRAINING: { number: 635, exit: 1, retry: true, meaning: 'The worker is ending and takes no new calls.' },
  WORKER_MODULE: { number: 636, exit: 1, retry: false, meaning: 'The module of operations cannot be loaded.' },

  // daemon and command line: 600..
  USAGE: { number: 600, exit: 2, retry: false, meaning: 'The command line is not understood.' },
  CONFIG_INVALID: { number: 601, exit: 2, retry: false, meaning: 'The configuration has a bad value.' },
  DAEMON_NOT_RUNNING: { number: 602, exit: 3, retry: false, meaning: 'No daemon runs for this home.' },
  DAEMON_RUNNING: { number: 603, exit: 1, retry: false, meaning: 'A daemon already runs for this home.' },
  CONTROL_UNAUTHORIZED: { number: 604, exit: 4, retry: false, meaning: 'The control token is wrong.' },
  CONTROL_FAILED: { number: 605, exit: 1, retry: false, meaning: 'The daemon did not answer as expected.' },
  NOT_FOUND: { number: 606, exit: 1, retry: false, meaning: 'There is no such thing.' },
  BIND_REFUSED: { number: 607, exit: 4, retry: false, meaning: 'Listening beyond loopback needs an explicit flag.' },
  DEGRADED: { number: 608, exit: 3, retry: false, meaning: 'The node runs without an identity and cannot do this.' },
  INTERRUPTED: { number: 609, exit: 1, retry: false, meaning: 'Interrupted.' },
} as const

export type ErrorCode = keyof typeof ERROR_TABLE

/** Every row has the shape above; checked here because the table itself must keep its literal keys. */
export const errorRow: (code: ErrorCode) => ErrorRow = (code) => ERROR_TABLE[code]
