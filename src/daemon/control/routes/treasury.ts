import { z } from 'zod'
import { makeTreasury, viewTreasuries } from '../../credentials/treasury.ts'
import { DEFAULT_VAULT } from '../../vault/files.ts'
import { json, type RoutesOf } from '../route.ts'
import type { TreasuryApi } from './treasury-api.ts'

export const treasuryRoutes: RoutesOf<TreasuryApi> = {
  'GET /v1/treasury': json(z.object({}), async ({ store }) => ({ treasuries: await viewTreasuries(store) })),
  'POST /v1/treasury/create': json(z.object({ name: z.string().max(64) }), async ({ store, vaults, assembly, clock, random }, { name }) => {
    const vault = await vaults.opened(DEFAULT_VAULT)
    return await makeTreasury({ store, vault, clock, random }, assembly.audit, name)
  }),
}
