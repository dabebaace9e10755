/** The client's versions. */

/** As in package.json; a test holds them together. */
export const BERTH_VERSION = "0.1.0";

/** The newest version of the Engine API that the commands are written for. */
export const API_VERSION = "1.51";
