import type { TreasuryView } from '../../credentials/treasury.ts'
import type { Json, Nothing } from '../route.ts'

/** Treasuries: made and listed. There is no route that gives a key out; `kith vault treasury export` works on the files of a stopped node. */
export interface TreasuryApi {
  'GET /v1/treasury': Json<Nothing, { readonly treasuries: readonly TreasuryView[] }>
  'POST /v1/treasury/create': Json<{ readonly name: string }, TreasuryView>
}
