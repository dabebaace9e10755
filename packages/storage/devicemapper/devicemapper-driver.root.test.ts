/** The drivers' contract with ext4 in the pool. */
import { testDevicemapper } from "#storage/devicemapper/testing/devicemapper-contract.ts";

testDevicemapper("ext4", ["dm.basesize=64M"]);
