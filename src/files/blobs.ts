import type { FileHandle } from 'node:fs/promises'
import type { PublicKey } from '../core/bytes.ts'
import { utf8 } from '../core/bytes.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { HOLDER_BYTES } from './wire.ts'

/** The largest blob there is: a larger file comes from its sender alone. */
export const MAX_SHARED_BYTES: number = 2 ** 40

/** What names content, and commits to all of it. */
export interface FileBlob {
  readonly root: Uint8Array
  readonly size: number
}

export interface FileManifest extends FileBlob {
  readonly top: Uint8Array
  readonly sha256: Uint8Array
}

export interface FileSource {
  readonly size: number
  read(target: Uint8Array, position: number): Promise<void>
}

export interface FileGrant extends FileBlob {
  readonly sha256: Uint8Array
  readonly issuer: Did
  readonly recipient: Did
  readonly providers: readonly Did[]
}

interface FetchFrom {
  readonly peer: Did
}

/**
 * What files need of blobs to fetch one file from several peers. `createBlobs` of `gossip/blobs` gives one; the two rooms know nothing of each other beyond this.
 */
export interface FileBlobs {
  describe(source: FileSource, options?: { readonly signal?: AbortSignal | undefined }): Promise<FileManifest>
  offer(manifest: FileManifest, source: FileSource, audience: { readonly peers: readonly Did[] }): { withdraw(): void }
  provide(
    finder: (claim: {
      readonly from: Did
      readonly sha256: Uint8Array
      readonly size: number
    }) => Promise<(FileSource & { close(): Promise<void> }) | undefined>,
  ): () => void
  grant(claim: Omit<FileGrant, 'issuer'>): Uint8Array
  readGrant(bytes: Uint8Array, carrier: { readonly peer: Did; readonly device: PublicKey }): Promise<FileGrant>
  providersOf(grant: FileGrant, bytes: Uint8Array): readonly FetchFrom[]
  fetch(
    blob: FileBlob,
    sink: { read(target: Uint8Array, position: number): Promise<number>; write(data: Uint8Array, position: number): Promise<void> },
    options: {
      readonly providers: readonly FetchFrom[]
      readonly resume?: boolean
      readonly signal?: AbortSignal | undefined
      readonly allowed?: (() => void) | undefined
      readonly onProgress?: ((progress: { readonly bytes: number; readonly resumed: number; readonly providers: number }) => void) | undefined
    },
  ): Promise<{ readonly bytes: number; readonly resumed: number; readonly providers: number }>
  linked(): readonly Did[]
}

/** What stands in an offer for a peer that has the file: known to those who know the peer. */
export function holderTag(fingerprint: Uint8Array, peer: Did): Uint8Array {
  return hashLabeled('icn/file-holder/v1', fingerprint, utf8(peer)).slice(0, HOLDER_BYTES)
}

/** An open file as content. */
export function fileSource(file: FileHandle, size: number): FileSource {
  return {
    size,
    async read(target, position) {
      for (let at = 0; at < target.length; ) {
        const { bytesRead } = await file.read(target, at, target.length - at, position + at)
        if (bytesRead === 0) throw new KithError('BLOB_CHANGED', 'the file became shorter')
        at += bytesRead
      }
    },
  }
}
