import type { KithError } from '../../core/errors.ts'
import type { NativeConnection, NativeStream } from './native.ts'
import { nothing } from './nothing.ts'

/**
 * Opens a stream natively. The caller is freed at once by `signal`, which the library cannot hear; a stream that opens after that, or after
 * `refusal` began to give a reason, is given back.
 */
export function openNative(connection: NativeConnection, signal: AbortSignal | undefined, refusal: () => KithError | undefined): Promise<NativeStream> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    connection.outboundStream().then(
      (native) => {
        signal?.removeEventListener('abort', abort)
        const refused = refusal()
        if (signal?.aborted !== true && refused === undefined) resolve(native)
        else {
          giveBack(native)
          reject(refused)
        }
      },
      (error: unknown) => {
        signal?.removeEventListener('abort', abort)
        reject(refusal() ?? error)
      },
    )
  })
}

/** Ends a stream that nobody uses, so that its credit returns. */
export function giveBack(native: NativeStream): void {
  native.resetWrite().catch(nothing)
  native.stopRead().catch(nothing)
}
