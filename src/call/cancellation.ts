import { isKithError, KithError } from '../core/errors.ts'

/** Who is told of a cancellation. */
export interface Cancellable {
  cancelled(error: KithError): void
}

/** Cancels at most once. An `AbortSignal` costs more than a small call, so it is made when a handler asks for it. */
export class Cancellation {
  #error: KithError | undefined
  #first: Cancellable | undefined
  #others: Set<Cancellable> | undefined
  #controller: AbortController | undefined

  /** Why; `undefined` while it has not happened. */
  get error(): KithError | undefined {
    return this.#error
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#error !== undefined) this.#controller.abort(this.#error)
    }
    return this.#controller.signal
  }

  add(listener: Cancellable): void {
    if (this.#error !== undefined) listener.cancelled(this.#error)
    else if (this.#first === undefined) this.#first = listener
    else {
      this.#others ??= new Set()
      this.#others.add(listener)
    }
  }

  remove(listener: Cancellable): void {
    if (this.#first === listener) this.#first = undefined
    else this.#others?.delete(listener)
  }

  cancel(error: KithError): void {
    if (this.#error !== undefined) return
    this.#error = error
    const { first, others } = { first: this.#first, others: this.#others }
    this.#first = undefined
    this.#others = undefined
    this.#controller?.abort(error)
    first?.cancelled(error)
    if (others !== undefined) for (const listener of others) listener.cancelled(error)
  }
}

/** The error that an aborted signal stands for. */
export function abortReason(signal: AbortSignal): KithError {
  const reason: unknown = signal.reason
  if (reason instanceof KithError) return reason
  if (reason instanceof DOMException && reason.name === 'TimeoutError') return new KithError('CALL_TIMEOUT', undefined, { cause: reason })
  return new KithError('ABORTED', undefined, { cause: reason })
}

/** Passes a signal on to a cancellable; the returned function ends that. */
export function onAbort(signal: AbortSignal, target: Cancellable): () => void {
  if (signal.aborted) {
    target.cancelled(abortReason(signal))
    return () => undefined
  }
  const abort = (): void => target.cancelled(abortReason(signal))
  signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}

/** Whether the caller ended the call, by itself or by running out of time. */
export function isCallersEnd(error: unknown): boolean {
  return isKithError(error, 'ABORTED') || isKithError(error, 'CALL_TIMEOUT')
}
