/** The drivers' contract with xfs in the pool. */
import { testDevicemapper } from "#storage/devicemapper/testing/devicemapper-contract.ts";

// The least that mkfs.xfs makes.
testDevicemapper("xfs", ["dm.basesize=300M"]);
